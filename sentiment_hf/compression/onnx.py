"""FP32 ONNX export through Optimum, checked against torch before it is kept."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment_hf.inference.onnx_session import (
    FP32_FILE,
    HEAD_FILE,
    INPUTS,
    onnx_document_head,
    onnx_forward,
    open_session,
)
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.forward import reads_documents
from sentiment_hf.modeling.loading import OWN_CONFIGS
from sentiment_hf.utils.exceptions import InputError, MissingExtraError
from sentiment_hf.utils.hardware import usable_threads

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)

TASK = "text-classification"
# Different kernels add in another order; more than this is a wrong graph.
LOGITS_TOLERANCE = 1e-4


def check_exporter() -> None:
    """Raise MissingExtraError where export is going to fail for want of it, to be told before hours of training."""
    for package, module in (("optimum-onnx", "optimum"), ("onnxruntime", "onnxruntime")):
        if find_spec(module) is None:
            raise MissingExtraError(package, "onnx")


def check_exportable(config: PretrainedConfig, name: str) -> None:
    """Raise InputError for a model of a type that Optimum has no export for, or one that reads more than tokens, to be
    told before hours of training."""
    if isinstance(config, OWN_CONFIGS):
        return
    # Optimum's table is filled when its ONNX part is imported.
    from optimum.exporters.onnx import main_export  # noqa: F401
    from optimum.exporters.tasks import TasksManager

    try:
        tasks = TasksManager.get_supported_tasks_for_model_type(config.model_type, "onnx", library_name="transformers")
    except KeyError:
        tasks = {}
    unknown = [field for field in tasks[TASK](config).inputs if field not in INPUTS] if TASK in tasks else []
    if TASK not in tasks or unknown:
        remedy = (
            "With --quantize none it is trained without one; bert, roberta, electra and most other encoders have one."
        )
        raise InputError("a model type with an export to ONNX", f"{config.model_type} in {name}", remedy)


def export_fp32(model_folder: Path, output: Path, own_model: PreTrainedModel | None = None) -> Path:
    """Export a saved classifier.

    Args:
        model_folder: checkpoint with tokenizer.
        own_model: the loaded model where its class is ours, which Optimum does not know.
        output: folder for `model.onnx`.

    Returns:
        The file.

    Raises:
        MissingExtraError: Optimum's ONNX part is not installed.
    """
    try:
        from optimum.exporters.onnx import export, main_export
    except ImportError as error:
        raise MissingExtraError("optimum-onnx", "onnx") from error
    # The check against torch runs on real texts and their real lengths, which Optimum's own on random tokens does not.
    with warnings.catch_warnings():
        # Tracing warns of every Python branch in transformers' attention masks.
        warnings.simplefilter("ignore")
        if own_model is None:
            main_export(str(model_folder), output, task=TASK, do_validation=False)
        else:
            # Optimum's entry points take a custom config, but go on to infer the library from the module that the class
            # was written in and refuse one that is not named transformers; the function below them does not.
            config = _onnx_config(own_model)
            own_model.config.save_pretrained(output)
            if reads_documents(own_model):
                # Two graphs: chunks are batched across documents, and what reads over them takes a document at a time.
                _export_head(own_model, output / HEAD_FILE, config.DEFAULT_ONNX_OPSET)
                own_model.forward = own_model.embed_chunks
            export(own_model, config, output / FP32_FILE, opset=config.DEFAULT_ONNX_OPSET)
            own_model.__dict__.pop("forward", None)
    return output / FP32_FILE


def _onnx_config(model: PreTrainedModel) -> Any:
    """BERT's inputs, and the outputs of our own heads."""
    from optimum.exporters.onnx.model_configs import BertOnnxConfig

    class HeadsOnnxConfig(BertOnnxConfig):
        @property
        def outputs(self) -> dict[str, dict[int, str]]:
            names = ["logits", "rating"] if getattr(model.config, "rating", "none") != "none" else ["logits"]
            return {name: {0: "batch_size"} for name in (["embedding"] if reads_documents(model) else names)}

    return HeadsOnnxConfig(model.config, task=TASK)


def _export_head(model: PreTrainedModel, file: Path, opset: int) -> None:
    import torch

    vectors = torch.zeros(1, 3, model.config.hidden_size)
    torch.onnx.export(
        model.document.eval(),
        (vectors,),
        str(file),
        input_names=["embedding"],
        output_names=["logits"],
        dynamic_axes={"embedding": {1: "chunks"}},
        opset_version=opset,
        dynamo=False,
    )


def onnx_scorer_like(scorer: TextScorer, onnx_file: Path) -> TextScorer:
    """Return the scorer with an ONNX file in the place of torch, and with the head beside it where there is one."""
    head = onnx_file.with_name(HEAD_FILE)
    document_head = onnx_document_head(open_session(head)) if head.is_file() else None
    return scorer.with_forward(onnx_forward(open_session(onnx_file, threads=1)), document_head, usable_threads())


def check_against_torch(onnx_file: Path, torch_scorer: TextScorer, texts: Sequence[str]) -> float:
    """Compare the file's logits with torch's on some texts, and return the largest difference.

    Raises:
        InputError: it is beyond `LOGITS_TOLERANCE`.
    """
    onnx_scorer = onnx_scorer_like(torch_scorer, onnx_file)
    difference = float(np.abs(onnx_scorer.logits(texts) - torch_scorer.logits(texts)).max())
    if difference > LOGITS_TOLERANCE:
        expected = f"ONNX logits within {LOGITS_TOLERANCE} of torch's"
        raise InputError(expected, f"a difference of {difference:.2e}", "Check the versions of torch and optimum-onnx.")
    logger.info("FP32 ONNX differs from torch by at most %.1e over %d texts", difference, len(texts))
    return difference
