"""Default settings of a run without a recipe, chosen from the size of the model and of the data.

`sentiment-hf train mine.csv` has to give a good model, and no single learning rate or number of epochs does so for four
layers and for twenty-four, for 400 rows and for 40,000. The figures behind these rules are in
`docs/results/defaults.md`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BertConfig

from sentiment_hf.data.cleaning import clean
from sentiment_hf.data.preparation import PreparedData
from sentiment_hf.data.tokenization import SLIDING, encode
from sentiment_hf.modeling.classifier import SCRATCH
from sentiment_hf.modeling.loading import load_config, load_tokenizer, max_positions
from sentiment_hf.modeling.names import STARTER
from sentiment_hf.training.arguments import RUN_PARTS, RunArguments, build_parts, parse_values
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import contents

RUNS = "runs"
OUTPUT_OPTION = re.compile(r"--output[-_]dir(=|$)")
# Keys that are settled once the rows and the model are known.
RULED = (
    "learning_rate",
    "num_train_epochs",
    "per_device_train_batch_size",
    "class_weights",
    "early_stopping_patience",
    "metric_for_best_model",
    "max_length",
    "truncation",
)
# Millions of weights in the encoder's layers, up to which a learning rate holds.
LEARNING_RATES = ((12, 2e-4), (50, 5e-5), (120, 2e-5), (math.inf, 1e-5))
# LoRA learns a small part of the weights, at about ten times the rate.
ADAPTER_FACTOR = 10
# Rows to learn from, up to which so many epochs are the most; early stopping may end sooner.
EPOCHS = ((200, 20), (1_000, 8), (5_000, 4), (20_000, 3), (math.inf, 2))
SMALL_BATCH, BATCH, SMALL_BATCH_ROWS = 16, 32, 1_000
# The largest class is so many times the smallest where classes are called uneven.
UNEVEN = 1.5
# Of validation rows there are few enough for one row to decide which checkpoint has the best F1.
FEW_VALIDATION_ROWS = 1_000
# A share of the texts this large is read whole, as long as that takes no more tokens than the limit.
WHOLE_TEXTS, SHORTEST, LENGTH_STEP, LONGEST = 0.95, 64, 32, 256
# Texts whose lengths are looked at.
_TEXTS_LOOKED_AT = 2_000


@dataclass(frozen=True)
class Facts:
    """What the settings depend on.

    Attributes:
        layers: of the encoder, as many as the run keeps.
        hidden_size: of the encoder.
        rows: to learn from, after cleaning.
        validation_rows: to choose the checkpoint by.
        class_counts: rows of each class that has any; empty for several labels a row.
        length: tokens within which most texts are (`WHOLE_TEXTS`), special ones included; None if not known.
        positions: the longest input of the model, in tokens; None for any.
        adapters: whether LoRA is trained in place of the whole model.
    """

    layers: int
    hidden_size: int
    rows: int
    validation_rows: int
    class_counts: tuple[int, ...] = ()
    length: int | None = None
    positions: int | None = None
    adapters: bool = False


def choose(facts: Facts) -> dict[str, tuple[Any, str]]:
    """Key -> the value for such a model and such rows, and why, as the end of a sentence."""
    size = f"{facts.layers} layer{'s' * (facts.layers > 1)} of {facts.hidden_size} units"
    epochs = _up_to(EPOCHS, facts.rows)
    small = facts.rows < SMALL_BATCH_ROWS
    chosen: dict[str, tuple[Any, str]] = {
        "learning_rate": (
            usual_learning_rate(facts.layers, facts.hidden_size, facts.adapters),
            f"{'LoRA in' if facts.adapters else 'the model has'} {size}",
        ),
        "num_train_epochs": (float(epochs), f"{facts.rows:,} rows to learn from"),
        "per_device_train_batch_size": (SMALL_BATCH if small else BATCH, f"{facts.rows:,} rows to learn from"),
        "early_stopping_patience": (
            max(2, round(epochs / 4)),
            "so many evaluations without a better score end the training, and the best checkpoint is kept",
        ),
    }
    if facts.class_counts:
        few, many = min(facts.class_counts), max(facts.class_counts)
        even = many <= UNEVEN * few
        why = f"classes have {few:,} to {many:,} rows"
        chosen["class_weights"] = ("none" if even else "balanced", why)
        if facts.validation_rows < FEW_VALIDATION_ROWS:
            why = f"on {facts.validation_rows:,} validation rows the loss tells checkpoints apart better than macro-F1"
            chosen["metric_for_best_model"] = ("loss", why)
    if facts.length is not None:
        rounded = math.ceil(facts.length / LENGTH_STEP) * LENGTH_STEP
        length = min(max(rounded, SHORTEST), LONGEST, facts.positions or LONGEST)
        why = f"{WHOLE_TEXTS:.0%} of the texts have {facts.length:,} tokens or fewer"
        why += f", more than {length} take long" if facts.length > length else ""
        chosen["max_length"] = (length, why)
        chosen["truncation"] = ("head_tail", "of a longer text the beginning and the end are kept")
    return chosen


def usual_learning_rate(layers: int, hidden_size: int, adapters: bool = False) -> float:
    """Choose the peak learning rate for an encoder of this size: that of its layers, whatever its vocabulary."""
    millions = 12 * layers * hidden_size**2 / 1e6
    rate: float = _up_to(LEARNING_RATES, millions)
    return min(rate * ADAPTER_FACTOR, 1e-3) if adapters else rate


def _up_to(steps: Sequence[tuple[float, Any]], size: float) -> Any:
    return next(value for limit, value in steps if size <= limit)


def parse_command_line(argv: Sequence[str]) -> RunArguments:
    """`FILE --key value …` as people type it -> arguments of a run; FILE is `--train_file`.

    With `--config` the recipe says everything. Without, the model is `starter`, the folder `runs/` and the file's name,
    INT8 is made, and what the rows decide is left for `settle`.

    Raises:
        InputError: see `parse_recipe`; two training files, or none.
    """
    values, given = parse_values(argv, RUN_PARTS, lone="train_file")
    if values["baseline_only"] and values["output_dir"] and not any(OUTPUT_OPTION.match(word) for word in argv):
        # Not into the folder where the recipe's model will be.
        values["output_dir"] += "-baseline"
    if "config" in given:
        return RunArguments(*build_parts(values, RUN_PARTS))
    source = values["train_file"] or values["dataset"]
    if source is None:
        raise InputError("training data", "neither a file nor a dataset", "Give a file: sentiment-hf train mine.csv")
    resume = values["resume_from_checkpoint"] or "false"
    # The baseline alone does not take the place of the run that comes next.
    ending = "-baseline" if values["baseline_only"] else ""
    folder = run_folder(source, resume.lower() == "true", bool(values["overwrite_output_dir"]), ending)
    if resume.lower() not in ("true", "false"):
        folder = Path(resume).parent
    fixed = {
        "model": (STARTER, "the encoder included in the package"),
        "quantize": usual_quantization(),
        "output_dir": (str(folder), "named after the data"),
    }
    fixed = {name: chosen for name, chosen in fixed.items() if name not in given}
    values |= {name: value for name, (value, _) in fixed.items()}
    reasons = {name: _reason(name, *chosen) for name, chosen in fixed.items()}
    args = RunArguments(*build_parts(values, RUN_PARTS))
    args.open_keys, args.chosen = open_keys(given, values), reasons
    return args


def usual_quantization() -> tuple[str, str]:
    """Choose how INT8 is made where nothing is said, and why: not at all where nothing is installed that exports."""
    if find_spec("optimum") is None or find_spec("onnxruntime") is None:
        return "none", "ONNX and INT8 need pip install 'sentiment_hf[onnx]'"
    return "dynamic", "INT8 is made, and kept if it passes the gate on validation"


def run_folder(source: str, going_on: bool = False, overwrite: bool = False, ending: str = "") -> Path:
    """`runs/mine` for `data/mine.csv`, or with the first number after it that is free: nothing is ever overwritten.

    Args:
        source: the training file, or a dataset's name.
        going_on: whether an earlier run is resumed: then it is the last one there.
        overwrite: whether an earlier run is replaced: then it is the first name.
        ending: after the name.
    """
    stem = re.sub(r"[^\w.-]+", "-", re.split(r"[/\\:]", source.rstrip("/"))[-1])
    for suffix in (".gz", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".parquet", ".xlsx"):
        stem = stem.removesuffix(suffix)
    first = Path(RUNS, (stem.strip(".") or "run") + ending)
    folder, before = first, first
    number = 1
    while not overwrite and (folder.is_file() or contents(folder)):
        number, before = number + 1, folder
        folder = first.with_name(f"{first.name}-{number}")
    return before if going_on else folder


def open_keys(given: Collection[str], values: dict[str, Any]) -> frozenset[str]:
    """Find the keys that the rows may decide: those not given, and not made idle by one that is."""
    keys = set(RULED) - set(given)
    if values["max_steps"] is not None and values["max_steps"] > 0:
        keys.discard("num_train_epochs")
    if values["truncation"] == SLIDING or values["extend_positions"] is not None:
        keys -= {"max_length", "truncation"}
    if {"sampler", "logit_adjustment"} & set(given):
        keys.discard("class_weights")
    if not values["load_best_model_at_end"] or {"eval_strategy", "save_strategy"} & set(given):
        keys -= {"early_stopping_patience", "metric_for_best_model"}
    return frozenset(keys)


def settle(args: RunArguments, data: PreparedData) -> None:
    """Set the keys that were left open, and note why in `args.chosen`."""
    if not args.open_keys:
        return
    for name, (value, why) in choose(facts_of(args, data)).items():
        if name not in args.open_keys:
            continue
        setattr(args.training if hasattr(args.training, name) else args.data, name, value)
        args.chosen[name] = _reason(name, value, why)
        if name == "metric_for_best_model":
            args.training.greater_is_better = False


def _reason(name: str, value: Any, why: str) -> str:
    return f"{name}: {value:g} ({why})" if isinstance(value, float) else f"{name}: {value} ({why})"


def facts_of(args: RunArguments, data: PreparedData) -> Facts:
    """Collect what the rows and the model's config say."""
    train = data.splits["train"]
    layers, hidden_size, positions = shape_of(args)
    return Facts(
        layers=layers,
        hidden_size=hidden_size,
        rows=len(train) if args.data.max_train_rows is None else min(len(train), args.data.max_train_rows),
        validation_rows=len(data.splits["validation"]),
        class_counts=tuple(train["label"].value_counts()) if data.task.is_single_label else (),
        length=_usual_length(args, data),
        positions=positions,
        adapters=args.model.peft is not None,
    )


def shape_of(args: RunArguments) -> tuple[int, int, int | None]:
    """Layers that the run keeps, width, and positions of its encoder; BERT-base's where a config does not say."""
    name = args.model.model or STARTER
    config = BertConfig() if name == SCRATCH else load_config(name, args.model.model_revision)
    found = {"num_hidden_layers": getattr(config, "num_hidden_layers", None)}
    found |= {"hidden_size": getattr(config, "hidden_size", None), "max_position_embeddings": max_positions(config)}
    found |= args.model.config_overrides or {}  # type: ignore[arg-type]
    # Values that no model can have are refused where the model is made.
    whole = {key: value for key, value in found.items() if isinstance(value, int) and value > 0}
    layers = args.model.num_hidden_layers or whole.get("num_hidden_layers", 12)
    return layers, whole.get("hidden_size", 768), whole.get("max_position_embeddings")


def _usual_length(args: RunArguments, data: PreparedData) -> int | None:
    """Tokens of a text, special ones included, that most training texts do not exceed."""
    texts = data.splits["train"]["text"]
    if len(texts) > _TEXTS_LOOKED_AT:
        texts = texts.sample(_TEXTS_LOOKED_AT, random_state=args.data.split_seed)
    settings = args.text_settings
    name = args.model.model or STARTER
    if name == SCRATCH:
        # Its tokens are yet to be made, and none is shorter than a character.
        lengths = [len(clean(text, settings.cleaning)) + 2 for text in texts]
    else:
        tokenizer = load_tokenizer(name, args.model.model_revision)
        whole = replace(settings, max_length=10**9, truncation="right", stride=None)
        lengths = [len(ids) for ids in encode(tokenizer, texts.tolist(), whole)["input_ids"]]
    return int(np.quantile(lengths, WHOLE_TEXTS, method="nearest"))
