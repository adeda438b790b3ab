"""Temperature scaling, calibration error, the abstention threshold, and a temperature inside the weights.

In the checkpoint the last layer's weight and bias are divided. An ONNX graph, of whatever precision, ends in one more
product with a number; its quantized weights stay as the gate saw them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from transformers import PretrainedConfig

from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.modeling.configuration_bert_heads import HierarchicalBertConfig
from sentiment_hf.tasks import softmax
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json

BINS = 15
# Between a twentieth and twenty times: further away there is nothing left to scale.
_LOG_RANGE = (-3.0, 3.0)
FOLDS = 5
# Fewer, and a fold judges by less than ten rows: what one of them does to the figures is more than any temperature.
MIN_ROWS = 50
# How sure a threshold's precision has to be.
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Calibration:
    """How a model's logits become probabilities, and which of them it stands by.

    Attributes:
        temperature: logits are divided by it; 1 leaves them as they are.
        threshold: a label less probable than this is not given; None gives all.
    """

    temperature: float = 1.0
    threshold: float | None = None


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels: `[rows, classes]` and `[rows]`."""
    return float(row_losses(logits, labels).mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature under which the labels are likeliest.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". It changes no label, only its probability.

    Args:
        logits: `[rows, classes]`, of rows that the model was not trained on.
        labels: `[rows]`.
    """
    logits = logits.astype(np.float64)
    found = minimize_scalar(lambda log_t: log_loss(logits / np.exp(log_t), labels), bounds=_LOG_RANGE, method="bounded")
    return float(np.exp(found.x))


@dataclass(frozen=True)
class HeldOut:
    """Whether a new temperature is better than the old one on rows that it was not fitted on.

    Attributes:
        rows: their number.
        mistakes: rows of them that the model gets wrong.
        temperatures: fitted without each of the folds; the old one where there is no mistake to fit to.
        log_loss: of the rows of all folds, under the old temperature and under the one fitted without their fold.
        error: their calibration error, likewise.
        deviation: standard error of the difference between the two log losses.
    """

    rows: int
    mistakes: int
    temperatures: tuple[float, ...]
    log_loss: tuple[float, float]
    error: tuple[float, float]
    deviation: float

    @property
    def refusal(self) -> str | None:
        """Why the old temperature stays, or None."""
        if self.mistakes == 0:
            right = f"the model gets all {self.rows:,} rows right, and only mistakes tell how sure to be"
            return f"{right}; give it rows that it was not trained on, more or harder ones"
        gain = self.log_loss[0] - self.log_loss[1]
        folds = f"on rows held out in {len(self.temperatures)} folds"
        if gain <= 0:
            return f"log loss {self.log_loss[0]:.4f} -> {self.log_loss[1]:.4f} {folds}, no better than before"
        if gain < self.deviation:
            found = f"log loss falls by {gain:.4f} {folds}, with a standard error of {self.deviation:.4f}"
            return f"{self.rows:,} rows are too few to tell a new temperature from the old one: {found}"
        if self.error[1] >= self.error[0]:
            return f"calibration error {self.error[0]:.4f} -> {self.error[1]:.4f} {folds}, no better than before"
        return None

    def to_dict(self) -> dict[str, Any]:
        pairs = {"log_loss": self.log_loss, "expected_calibration_error": self.error}
        figures = {name: dict(zip(("before", "after"), pair, strict=True)) for name, pair in pairs.items()}
        return {"folds": len(self.temperatures), "temperatures": list(self.temperatures), **figures}


def held_out_check(logits: np.ndarray, labels: np.ndarray, old: float = 1.0, seed: int = 0) -> HeldOut:
    """Fit a temperature without each fold of the rows in turn and judge it by that fold.

    Args:
        logits: `[rows, classes]`, of rows that the model was not trained on.
        labels: `[rows]`.
        old: the temperature that is in use.
        seed: of the folds.

    Raises:
        InputError: too few rows for that.
    """
    if len(labels) < MIN_ROWS:
        why = f"each of {FOLDS} folds would be judged by {len(labels) // FOLDS}"
        remedy = "Label more rows that the model was not trained on, and give them with --data."
        raise InputError(f"at least {MIN_ROWS} rows to calibrate on", f"{len(labels)}: {why}", remedy)
    mistakes = int((logits.argmax(axis=1) != labels).sum())
    logits = logits.astype(np.float64)
    fold = np.random.default_rng(seed).permutation(len(labels)) % FOLDS
    kept = [fold != place for place in range(FOLDS)]
    temperatures = [fit_temperature(logits[rows], labels[rows]) if mistakes else old for rows in kept]
    scaled = logits / old, logits / np.array(temperatures)[fold][:, None]
    losses = [row_losses(each, labels) for each in scaled]
    errors = [expected_calibration_error(softmax(each), labels) for each in scaled]
    deviation = float((losses[0] - losses[1]).std(ddof=1) / len(labels) ** 0.5)
    pair = float(losses[0].mean()), float(losses[1].mean())
    return HeldOut(len(labels), mistakes, tuple(temperatures), pair, (errors[0], errors[1]), deviation)


def row_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each row's label, `[rows]`."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels]


def too_few_for(precision: float, kept: int) -> str | None:
    """Why a threshold's precision is not known on so many rows above it, or None.

    Even where all of them are right, a share below `precision` would have done that in one case of twenty.
    """
    wanted = np.inf if precision == 1 else int(np.ceil(np.log(1 - _CONFIDENCE) / np.log(precision)))
    if kept >= wanted:
        return None
    least = "no number of rows shows it" if np.isinf(wanted) else f"at least {wanted:,} are needed"
    return f"{kept:,} rows above the threshold are too few to show a precision of {precision:g}: {least}"


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> list[dict[str, Any]]:
    """Rows by the probability of the prediction, in bins of equal width; empty ones are left out.

    Returns:
        For each bin `low` and `high` (its bounds), `rows`, `confidence` (mean) and `accuracy`.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    table = []
    for place in range(bins):
        inside = places == place
        if inside.any():
            figures = {"confidence": float(confidence[inside].mean()), "accuracy": float(right[inside].mean())}
            table.append({"low": place / bins, "high": (place + 1) / bins, "rows": int(inside.sum()), **figures})
    return table


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """How far confidence is from accuracy, averaged over the bins of `reliability` by their rows."""
    table = reliability(probabilities, labels, bins)
    return sum(row["rows"] * abs(row["confidence"] - row["accuracy"]) for row in table) / len(labels)


def threshold_for(probabilities: np.ndarray, labels: np.ndarray, precision: float) -> tuple[float, float]:
    """Find the lowest threshold at which the labels given are right often enough.

    Args:
        probabilities: `[rows, classes]`.
        labels: `[rows]`.
        precision: share of the given labels that have to be right.

    Returns:
        The threshold, and its coverage: the share of rows that still get a label.

    Raises:
        InputError: no threshold reaches that precision.
    """
    if not 0 < precision <= 1:
        raise InputError("a precision above 0 and at most 1", str(precision), "0.95 is usual.")
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    kept = np.arange(1, len(labels) + 1)
    precise = right.cumsum() / kept
    # A threshold falls between two different confidences: rows that are equally sure stand or fall together.
    ends = np.append(confidence[order][:-1] > confidence[order][1:], True)
    reached = np.flatnonzero(ends & (precise >= precision))
    if len(reached) == 0:
        best = f"{precise[ends].max():.4f} at best"
        raise InputError(f"a threshold with a precision of {precision}", best, "Ask for less, or train a better model.")
    last = reached[-1]
    return float(confidence[order][last]), float(kept[last] / len(labels))


def calibration_report(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, Any]:
    """Calibration error and log loss before and after a temperature, and the bins of both."""
    report: dict[str, Any] = {"rows": len(labels)}
    for name, scaled in (("before", logits), ("after", logits / temperature)):
        probabilities = softmax(scaled.astype(np.float64))
        report[name] = {
            "expected_calibration_error": expected_calibration_error(probabilities, labels),
            "log_loss": log_loss(scaled.astype(np.float64), labels),
            "bins": reliability(probabilities, labels),
        }
    return report


# Name of the product at the end of a graph, and of the number that it multiplies by.
TEMPERATURE_SCALE = "sentiment_hf/temperature"
# Weights that this package does not write, which other loaders may take.
_OTHERS = ("pytorch_model*.bin", "tf_model*.h5", "flax_model*.msgpack", "adapter_model.*", "**/openvino*.xml")
_INDEX = "model.safetensors.index.json"
_TOLERANCE = 1e-4


class CannotFold(Exception):
    """Why a temperature cannot be divided into a model's files, in a sentence that names the file."""


def fold_temperature(
    folder: Path, staging: Path, config: PretrainedConfig, settings: TextSettings, temperature: float
) -> None:
    """Write every file of a model that holds its last layer into another folder, logits divided by a temperature.

    Args:
        folder: of a saved classifier of one label.
        staging: an empty folder.
        config: the classifier's.
        settings: the classifier's.
        temperature: above 0.

    Raises:
        CannotFold: for one of the files, so that for none of them; nothing of `staging` is to be used then.
    """
    is_hierarchical = isinstance(config, HierarchicalBertConfig)
    if settings.is_sliding and settings.aggregation == "logsumexp" and not is_hierarchical:
        # The logarithm of a sum of exponentials does not scale with what is summed.
        raise CannotFold("the chunks' logits are put together by logsumexp, and dividing them first is not the same")
    for pattern in _OTHERS:
        for path in sorted(folder.glob(pattern)):
            remedy = "remove it or convert it to model.safetensors"
            raise CannotFold(f"{path.relative_to(folder)} holds weights in a form that is not written here; {remedy}")
    graphs = sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])
    folded = [_fold_graph(path, folder, staging, temperature) for path in graphs]
    if any((folder / name).is_file() for name in ("model.safetensors", _INDEX)):
        _fold_checkpoint(folder, staging, config, temperature)
    elif not any(folded):
        raise CannotFold("no file of weights was found")


def _fold_checkpoint(folder: Path, staging: Path, config: PretrainedConfig, temperature: float) -> None:
    if find_spec("torch") is None:
        raise CannotFold("model.safetensors is written with torch, which is not installed")
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    from sentiment_hf.modeling.classifier import load_classifier
    from sentiment_hf.modeling.forward import last_linear

    model = load_classifier(str(folder), config).eval()
    name, layer = last_linear(model, config.num_labels)
    remedy = "the temperature is applied by sentiment_hf alone"
    if layer is None:
        raise CannotFold(f"the model in model.safetensors has no linear layer that gives its logits; {remedy}")
    parameters = {f"{name}.{key}": value for key, value in layer.named_parameters()}
    ids = (torch.arange(8) % config.vocab_size).unsqueeze(0)
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        for value in parameters.values():
            value.div_(temperature)
        after = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    if not torch.allclose(before, after * temperature, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise CannotFold(f"{name} in model.safetensors is not the last layer of the model; {remedy}")
    path = folder / "model.safetensors"
    if not path.is_file():
        shards = {read_json(folder / _INDEX)["weight_map"].get(key) for key in parameters}
        if len(shards) != 1 or None in shards:
            raise CannotFold(f"{_INDEX} has {name} in several files; save the model with larger ones")
        path = folder / str(shards.pop())
    with safe_open(path, "pt") as weights:
        metadata = weights.metadata()
        tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
    if not parameters.keys() <= tensors.keys():
        raise CannotFold(f"{path.name} calls the weights of {name} something else; save the model anew")
    # In FP32 whatever the others are in: rounded to fewer bits, logits would not be quotients any more.
    tensors |= {key: value.detach().contiguous() for key, value in parameters.items()}
    save_file(tensors, staging / path.name, metadata)
    (staging / path.name).chmod(path.stat().st_mode & 0o777)


def _fold_graph(path: Path, folder: Path, staging: Path, temperature: float) -> bool:
    """Whether a graph's outputs are logits, which are then divided in the copy that is written."""
    shown = path.relative_to(folder)
    try:
        import onnx
    except ImportError as error:
        raise CannotFold(f"{shown} is changed with onnx, which is not installed: pip install onnx") from error
    from onnx import helper, numpy_helper

    # Weights in a file beside it stay there.
    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    outputs = {output.name: output for output in graph.output}
    if "logits" not in outputs:
        if "embedding" in outputs:
            # Of a hierarchical model: what reads over these is the last layer.
            return False
        raise CannotFold(f"{shown} has no output named logits; export it anew with sentiment-hf compress export")
    dtype = helper.tensor_dtype_to_np_dtype(outputs["logits"].type.tensor_type.elem_type)
    scales = [tensor for tensor in graph.initializer if tensor.name == TEMPERATURE_SCALE]
    if scales:
        scale = np.asarray(numpy_helper.to_array(scales[0]) / temperature, dtype=dtype)
        scales[0].CopyFrom(numpy_helper.from_array(scale, TEMPERATURE_SCALE))
    else:
        for node in graph.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == "logits":
                        names[place] = f"{TEMPERATURE_SCALE}/logits"
        graph.initializer.append(numpy_helper.from_array(np.asarray(1 / temperature, dtype=dtype), TEMPERATURE_SCALE))
        graph.node.append(
            helper.make_node("Mul", [f"{TEMPERATURE_SCALE}/logits", TEMPERATURE_SCALE], ["logits"], TEMPERATURE_SCALE)
        )
    target = staging / shown
    target.parent.mkdir(exist_ok=True)
    onnx.save(model, str(target))
    target.chmod(path.stat().st_mode & 0o777)
    return True
