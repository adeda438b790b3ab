"""Export a trained model to ONNX: FP32, and INT8 if it passes the gate."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sentiment_hf.compression.gate import MAX_TEXTS, GateResult, Judge, too_few
from sentiment_hf.compression.onnx import (
    check_against_torch,
    check_exportable,
    check_exporter,
    export_fp32,
    onnx_scorer_like,
)
from sentiment_hf.compression.outliers import split_outliers
from sentiment_hf.compression.quantization import Quantization, quantize_dynamic
from sentiment_hf.compression.static import (
    SENSITIVITY_FILE,
    StaticQuantizer,
    activation_shards,
    check_activation_rows,
    quantize_until,
)
from sentiment_hf.inference.onnx_session import FP32_FILE, HEAD_FILE, ONNX_FOLDER
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.adapters import is_adapter
from sentiment_hf.modeling.config_io import recorded_settings, task_of
from sentiment_hf.modeling.loading import OWN_CONFIGS, load_config, load_config_and_tokenizer
from sentiment_hf.modeling.names import given_name, resolve_model
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import staging_folder

logger = logging.getLogger(__name__)

MAX_CHECKED_TEXTS = 64
# What INT8 is made from; it does not stay.
SPLIT_FILE = "split.onnx"


@dataclass(frozen=True)
class Exported:
    """Files of an export.

    Attributes:
        scorer: the checkpoint as it was exported from: texts -> logits by torch on the processor.
        fp32: the FP32 file.
        int8: the INT8 file, or None where none was asked for or the gate refused.
        gate: what the gate saw, or None where INT8 was not asked for.
        backend: by which name `SentimentClassifier` opens the INT8 file.
        int8_name: the name of the INT8 file that was asked for, whether it came to be or not.
    """

    scorer: TextScorer
    fp32: Path
    int8: Path | None = None
    gate: GateResult | None = None
    backend: str = "int8"
    int8_name: str = ""

    @property
    def refusal(self) -> str | None:
        """Why there is no INT8 file, or None."""
        return None if self.gate is None or self.gate.passed else f"INT8 refused by the gate: {self.gate}"


def export_model(
    model: str | Path,
    validation: pd.DataFrame | None,
    quantization: Quantization | None = None,
    output: Path | None = None,
    activation_rows: pd.DataFrame | None = None,
) -> Exported:
    """Export a saved classifier into `onnx/`; files appear there whole and checked, or not at all.

    Args:
        model: folder or Hub id.
        validation: labelled rows (`text`, `label` as ids) for the gate, and for the check against torch; the gate never
            reads test, or INT8's score there would be selected for.
        quantization: how INT8 is made; None for FP32 alone.
        output: folder for the files; `onnx/` in a model's own folder unless told.
        activation_rows: training rows (`text`), whose labels nobody asks for: static INT8 takes its ranges from them,
            and the gate its agreement of labels where validation rows are too few to tell.

    Raises:
        InputError: INT8 without validation rows, a Hub id without `output`, or an ONNX file that disagrees with torch.
        MissingExtraError: Optimum or onnxruntime is not installed.
    """
    from sentiment_hf.modeling.classifier import load_classifier
    from sentiment_hf.modeling.forward import torch_document_head, torch_forward

    quantization = quantization or Quantization("none")
    model = resolve_model(str(model))
    config, tokenizer = load_config_and_tokenizer(model)
    check_exporter()
    check_exportable(config, given_name(model))
    if quantization.method == "static":
        check_activation_rows(activation_rows, quantization.activation_ranges)
    if quantization.method != "none" and (validation is None or validation.empty):
        remedy = "Give labelled rows with --validation_file; test rows would not do."
        raise InputError("validation rows for the INT8 gate", f"none beside {model}", remedy)
    if output is None:
        if not Path(model).is_dir():
            raise InputError("--output_dir", "none", f"Name a folder for the files of {model}.")
        output = Path(model) / ONNX_FOLDER
    classifier = load_classifier(str(model), config)
    settings = recorded_settings(config, tokenizer, str(model))
    head = torch_document_head(classifier)
    scorer = TextScorer(tokenizer, settings, torch_forward(classifier), document_head=head)
    sample = (
        list(validation["text"][:MAX_CHECKED_TEXTS])
        if validation is not None
        else ["这个电影太好看了!", "房间很吵,再也不来了。"]
    )
    with staging_folder(output) as staging:
        source = Path(model)
        if is_adapter(model) or load_config(model).pad_token_id != classifier.config.pad_token_id:
            # What was merged, or found out about padding, stands in no file yet.
            source = staging / "whole"
            classifier.save_pretrained(source)
            tokenizer.save_pretrained(source)
        fp32 = export_fp32(source, staging, classifier if isinstance(config, OWN_CONFIGS) else None)
        check_against_torch(fp32, scorer, sample)
        gate, int8, table = None, None, None
        if quantization.method != "none" and validation is not None:
            judge = Judge(
                scorer, validation, task_of(config), onnx_scorer_like(scorer, fp32).logits(validation["text"])
            )
            resolution = judge.resolution()
            if too_few(resolution, quantization.max_drop):
                judge = judge.with_texts(training_texts(activation_rows), fp32)
            split = split_outliers(fp32, activation_shards(scorer, sample), staging / SPLIT_FILE)
            if quantization.method == "dynamic":
                int8 = quantize_dynamic(split, staging, quantization.arch)
            else:
                quantizer = StaticQuantizer(split, scorer, activation_rows, quantization)
                if quantization.sensitivity:
                    int8, table = quantize_until(quantizer, judge, quantization.max_drop, staging, resolution)
                else:
                    int8 = quantizer.quantize(staging)
            gate = judge.verdict(int8, quantization.max_drop, resolution)
            logger.info("gate %s: %s", "passed" if gate.passed else "refused", gate)
        passed = gate is not None and gate.passed
        fp32, placed = _put(fp32, int8 if passed else None, table, output, quantization)
        name = "" if quantization.method == "none" else quantization.file_name
        return Exported(scorer, fp32, placed, gate, quantization.backend, name)


def training_texts(rows: pd.DataFrame | None) -> list[str]:
    """Texts to ask both models about: those of the training rows, or a seeded sample of `MAX_TEXTS` of them."""
    if rows is None:
        return []
    texts = rows["text"].dropna()
    return list(texts.sample(min(len(texts), MAX_TEXTS), random_state=42))


def _put(
    fp32: Path,
    int8: Path | None,
    table: pd.DataFrame | None,
    output: Path,
    quantization: Quantization,
) -> tuple[Path, Path | None]:
    """Move what was made into its place, and what an earlier export left for the same target out of it."""
    name = "" if quantization.method == "none" else quantization.file_name
    if name:
        # An earlier file of this target passed another gate; it goes first, so that it never stands beside a newer FP32
        # file. The files of other targets are of the same weights and stay.
        (output / name).unlink(missing_ok=True)
    if quantization.method == "static":
        (output / SENSITIVITY_FILE).unlink(missing_ok=True)
    if table is not None:
        table.to_csv(output / SENSITIVITY_FILE, index=False)
    head = fp32.with_name(HEAD_FILE)
    if head.is_file():
        # The two halves of a model are of one export, or one of them is not there.
        (output / FP32_FILE).unlink(missing_ok=True)
        os.replace(head, output / HEAD_FILE)
    os.replace(fp32, output / FP32_FILE)
    if int8 is not None:
        os.replace(int8, output / name)
    return output / FP32_FILE, None if int8 is None else output / name
