"""The systems that a benchmark times: ways to run one checkpoint, each a function from texts to label names."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sentiment_hf.inference.backends import OPENVINO_PROVIDER as OPENVINO
from sentiment_hf.inference.calibration import Calibration
from sentiment_hf.inference.onnx_providers import PROVIDERS
from sentiment_hf.inference.onnx_session import FP32_FILE, ONNX_FOLDER, int8_names, suits_this_machine
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import recorded_settings
from sentiment_hf.modeling.loading import load_config_and_tokenizer
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

logger = logging.getLogger(__name__)

# Texts -> the name of each one's label.
Predict = Callable[[Sequence[str]], list[str]]
PIPELINE, OPTIMUM = "transformers pipeline", "Optimum pipeline"


@dataclass(frozen=True)
class System:
    """One way to run one model.

    Attributes:
        name: the row's.
        model: folder.
        kind: `PIPELINE` or `OPTIMUM`, what people use, or a backend of `SentimentClassifier`.
        batch_size: of a pipeline; ours choose their own.
        provider: where it is to run.
    """

    name: str
    model: str
    kind: str
    batch_size: int = 1
    provider: str = "cpu"

    @property
    def files(self) -> list[Path]:
        """The files with its weights."""
        folder = Path(self.model)
        if self.kind in (PIPELINE, "torch"):
            return [folder / "model.safetensors"]
        if self.kind in (OPTIMUM, "onnx", "openvino"):
            return [folder / ONNX_FOLDER / FP32_FILE]
        kind = "static" if self.kind == "openvino_int8" else self.kind
        names = [name for name in int8_names(kind, self.provider) if (folder / ONNX_FOLDER / name).is_file()]
        return [folder / ONNX_FOLDER / names[0]]

    def open(self) -> Predict:
        """Load it.

        Raises:
            MissingExtraError: Optimum or onnxruntime is not installed.
            InputError: it does not run on the provider that was asked for.
        """
        if self.kind in (PIPELINE, OPTIMUM):
            return self._open_pipeline()
        classifier = SentimentClassifier.from_pretrained(self.model, self.kind, self.provider)
        running = classifier.providers[0]
        if running not in (PROVIDERS[self.provider], self.provider, OPENVINO):
            raise InputError(f"{self.name} on {self.provider}", running, "See the warning above.")
        # A pipeline knows no threshold: every system gives each text a label.
        classifier.calibration = Calibration()
        return lambda texts: [str(prediction.to_dict()["label"]) for prediction in classifier(list(texts))]

    def _open_pipeline(self) -> Predict:
        from transformers import pipeline

        config, tokenizer = load_config_and_tokenizer(self.model)
        model: Any = self.model
        if self.kind == OPTIMUM:
            model = _open_optimum(self.model)
        # The documented way to feed many texts: one call with a batch size, truncated as the model was trained.
        options = {"truncation": True, "max_length": recorded_settings(config, tokenizer, self.model).max_length}
        classify = pipeline(
            "text-classification", model=model, tokenizer=tokenizer, device="cpu", trust_remote_code=False
        )
        return lambda texts: [row["label"] for row in classify(list(texts), batch_size=self.batch_size, **options)]


def _open_optimum(model: str) -> Any:
    try:
        import onnxruntime
        from optimum.onnxruntime import ORTModelForSequenceClassification
    except ImportError as error:
        raise MissingExtraError("optimum-onnx", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    return ORTModelForSequenceClassification.from_pretrained(
        model, subfolder=ONNX_FOLDER, file_name=FP32_FILE, session_options=options
    )


def systems_of(model: str, smaller: Sequence[str], provider: str) -> list[System]:
    """Every way to run a model for which its folder has the files, and the INT8 files of smaller ones.

    Raises:
        InputError: a folder without checkpoint, or a smaller model without INT8 file.
    """
    if not (Path(model) / "model.safetensors").is_file():
        remedy = "Give a folder that was trained or downloaded whole."
        raise InputError(f"a model.safetensors in {model}", "none", remedy)
    rows = [
        System("transformers pipeline, FP32, batch 1", model, PIPELINE, 1),
        System("transformers pipeline, FP32, batch 32", model, PIPELINE, 32),
    ]
    if (Path(model) / ONNX_FOLDER / FP32_FILE).is_file():
        rows.append(System("Optimum pipeline, FP32 ONNX, batch 32", model, OPTIMUM, 32))
    if provider != "tensorrt":
        rows.append(System("torch, FP32", model, "torch", provider=provider))
    rows += [System(_title(kind), model, kind, provider=provider) for kind in onnx_kinds(model, provider)]
    for folder in smaller:
        kinds = [kind for kind in onnx_kinds(folder, provider) if kind not in ("onnx", "openvino")]
        if not kinds:
            remedy = f"Make one: sentiment-hf compress export --model {folder} --quantize dynamic"
            raise InputError(f"an INT8 file in {folder}", "none", remedy)
        rows += [System(f"{Path(folder).name}, {_title(kind)}", folder, kind, provider=provider) for kind in kinds]
    return rows


def onnx_kinds(model: str, provider: str) -> list[str]:
    """Backends of `SentimentClassifier` for which a folder has an ONNX file that suits this machine."""
    folder = Path(model) / ONNX_FOLDER
    kinds = ["onnx"] if (folder / FP32_FILE).is_file() else []
    static = int8_names("static", provider)
    for kind, names in (("int8", [name for name in int8_names() if name not in static]), ("static", static)):
        suits = [name for name in names if provider == "tensorrt" or suits_this_machine(name)]
        if any((folder / name).is_file() for name in suits) and not (kind == "int8" and provider == "tensorrt"):
            kinds.append(kind)
    if provider == "cpu" and find_spec("openvino") is not None:
        kinds += [f"openvino{'_int8' if kind == 'static' else ''}" for kind in kinds if kind in ("onnx", "static")]
    return kinds


def _title(kind: str) -> str:
    return {
        "onnx": "ONNX, FP32",
        "int8": "ONNX, INT8",
        "static": "ONNX, static INT8",
        "openvino": "OpenVINO, FP32 weights",
        "openvino_int8": "OpenVINO, static INT8",
    }[kind]
