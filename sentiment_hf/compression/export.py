"""A trained model becomes ONNX files: FP32, and INT8 if it passes the gate."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sentiment_hf.compression.onnx import check_against_torch, export_fp32, onnx_scorer_like
from sentiment_hf.compression.quantization import GateResult, quantize_dynamic
from sentiment_hf.evaluation.prediction import TextScorer
from sentiment_hf.evaluation.scores import task_scores
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import staging_folder
from sentiment_hf.modeling.loading import OWN_CONFIGS, load_config, load_tokenizer
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.modeling.onnx_session import (
    FP32_FILE,
    HEAD_FILE,
    INT8_FILES,
    ONNX_FOLDER,
    resolve_arch,
)
from sentiment_hf.modeling.saved import recorded_settings, task_of

logger = logging.getLogger(__name__)

MAX_CHECKED_TEXTS = 64


@dataclass(frozen=True)
class Exported:
    """Files of an export.

    Attributes:
        fp32: the FP32 file.
        int8: the INT8 file, or None where none was asked for or the gate refused.
        gate: what the gate saw, or None where INT8 was not asked for.
    """

    fp32: Path
    int8: Path | None = None
    gate: GateResult | None = None

    @property
    def refusal(self) -> str | None:
        """Why there is no INT8 file, or None."""
        return None if self.gate is None or self.gate.passed else f"INT8 refused by the gate: {self.gate}"


def export_model(
    model: str | Path,
    dev: pd.DataFrame | None,
    quantize: str = "none",
    arch: str = "auto",
    max_drop: float = 0.5,
    output: Path | None = None,
) -> Exported:
    """Export a saved classifier into `onnx/`; files appear there whole and checked, or not at all.

    Args:
        model: folder or Hub id.
        dev: labelled rows (`text`, `label` as ids) for the gate, and for the check against torch; the gate never reads
            test, or INT8's score there would be selected for.
        quantize: `none` or `dynamic`.
        arch: processor that the INT8 file is for.
        max_drop: points of the task's metric that INT8 may lose on dev.
        output: folder for the files; `onnx/` in a model's own folder unless told.

    Raises:
        InputError: INT8 without dev rows, a Hub id without `output`, or an ONNX file that disagrees with torch.
        MissingExtraError: Optimum or onnxruntime is not installed.
    """
    from sentiment_hf.modeling.classifier import load_classifier
    from sentiment_hf.modeling.forward import torch_document_head, torch_forward

    target_name = INT8_FILES[resolve_arch(arch)]
    model = resolve_model(str(model))
    config, tokenizer = load_config(model), load_tokenizer(model)
    if quantize != "none" and (dev is None or dev.empty):
        remedy = "Give labelled rows with --validation_file; test rows would not do."
        raise InputError("dev rows for the INT8 gate", f"none beside {model}", remedy)
    if output is None:
        if not Path(model).is_dir():
            raise InputError("--output_dir", "none", f"Name a folder for the files of {model}.")
        output = Path(model) / ONNX_FOLDER
    classifier = load_classifier(str(model), config)
    settings = recorded_settings(config, tokenizer, str(model))
    head = torch_document_head(classifier)
    scorer = TextScorer(tokenizer, settings, torch_forward(classifier), document_head=head)
    sample = (
        list(dev["text"][:MAX_CHECKED_TEXTS]) if dev is not None else ["这个电影太好看了!", "房间很吵,再也不来了。"]
    )
    with staging_folder(output) as staging:
        fp32 = export_fp32(Path(model), staging, classifier if isinstance(config, OWN_CONFIGS) else None)
        check_against_torch(fp32, scorer, sample)
        gate = None
        if quantize == "dynamic" and dev is not None:
            int8 = quantize_dynamic(fp32, staging, arch)
            task = task_of(config)
            points = {}
            for name, path in (("fp32", fp32), ("int8", int8)):
                logits = onnx_scorer_like(scorer, path).logits(dev["text"])
                points[name] = task_scores(logits, dev["label"], task)[task.metric] * 100
            gate = GateResult(task.metric, points["fp32"], points["int8"], max_drop)
            logger.info("gate %s: %s", "passed" if gate.passed else "refused", gate)
        # Whatever an earlier export left for this target belongs to other weights or to another gate; it goes first, so
        # that it never stands beside a newer FP32 file.
        (output / target_name).unlink(missing_ok=True)
        if (staging / HEAD_FILE).is_file():
            os.replace(staging / HEAD_FILE, output / HEAD_FILE)
        os.replace(fp32, output / FP32_FILE)
        if gate is not None and gate.passed:
            os.replace(int8, output / target_name)
            return Exported(output / FP32_FILE, output / target_name, gate)
    return Exported(output / FP32_FILE, None, gate)
