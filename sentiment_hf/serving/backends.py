"""Which file of a model runs, and on what."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment_hf.evaluation.prediction import BATCH_SIZES, DocumentHead, Forward
from sentiment_hf.exceptions import InputError
from sentiment_hf.hardware import usable_threads
from sentiment_hf.modeling.configuration_bert_heads import HierarchicalBertConfig
from sentiment_hf.modeling.loading import OWN_CONFIGS
from sentiment_hf.modeling.onnx_providers import PROVIDERS, Shapes
from sentiment_hf.modeling.onnx_session import (
    HEAD_FILE,
    ONNX_FOLDER,
    OTHER_INT8_FILES,
    onnx_document_head,
    onnx_forward,
    onnx_paths,
    open_session,
    suits_this_machine,
)
from sentiment_hf.modeling.openvino_model import PROVIDER, openvino_forward
from sentiment_hf.option_values import BACKENDS
from sentiment_hf.serving.hub import hub_file, hub_has

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)

# Weights for torch, whole or in pieces.
CHECKPOINTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
)
GPU_BATCH_SIZE = 32


@dataclass(frozen=True)
class OpenBackend:
    """A model that is ready to run; of a torch one also the model itself, for whoever looks inside."""

    name: str
    forward: Forward
    providers: tuple[str, ...]
    batch_size: int
    file: Path | None
    document_head: DocumentHead | None = None
    workers: int = 1
    model: PreTrainedModel | None = None


def open_backend(
    model: str,
    config: PretrainedConfig,
    backend: str,
    provider: str,
    revision: str | None = None,
    attn_implementation: str | None = None,
    max_length: int | None = None,
) -> OpenBackend:
    """Open the file that `backend` names on `provider`; see `SentimentClassifier.from_pretrained`.

    `attn_implementation` (torch only) is transformers' choice unless given; `max_length` is that of the texts to come,
    which TensorRT wants to know.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend {' | '.join(BACKENDS)}", repr(backend), "Use one of these names.")
    if backend == "auto":
        backend = first_there(model, revision)
    if backend == "torch":
        return _open_torch(model, config, provider, revision, attn_implementation)
    if backend in ("openvino", "openvino_int8"):
        return _open_openvino(model, config, backend, provider, revision)
    path = _model_file(model, backend, revision, provider)
    if provider != "cpu":
        session = open_session(path, provider, shapes=Shapes(GPU_BATCH_SIZE, max_length or Shapes.max_length))
    # Several batches at a time on one core each do more than one at a time on all of them; a GPU takes one at a time.
    workers, batch_size = 1, GPU_BATCH_SIZE
    if provider == "cpu" or session.get_providers()[0] == PROVIDERS["cpu"]:
        session, workers, batch_size = open_session(path, "cpu", threads=1), usable_threads(), BATCH_SIZES[backend]
        if backend != "onnx" and path.name not in OTHER_INT8_FILES and not suits_this_machine(path.name):
            command = "sentiment-hf compress export --model MODEL --quantize dynamic"
            logger.warning("%s is for another processor: its numbers may be wrong. Make one: %s", path.name, command)
    providers = tuple(session.get_providers())
    head = _open_head(model, config, revision)
    forward = onnx_forward(session, _width(config), path)
    return OpenBackend(backend, forward, providers, batch_size, path, head, workers)


def _open_head(model: str, config: PretrainedConfig, revision: str | None) -> DocumentHead | None:
    """Open what reads over the chunks of a hierarchical model; None for any other model."""
    if not isinstance(config, HierarchicalBertConfig):
        return None
    if Path(model).is_dir():
        return onnx_document_head(open_session(Path(model) / ONNX_FOLDER / HEAD_FILE))
    return onnx_document_head(open_session(hub_file(model, [f"{ONNX_FOLDER}/{HEAD_FILE}"], revision)))


def _open_openvino(
    model: str, config: PretrainedConfig, backend: str, provider: str, revision: str | None
) -> OpenBackend:
    if provider != "cpu":
        raise InputError(f"provider cpu for {backend}", repr(provider), "cuda and tensorrt run with backend onnx.")
    path, workers = _model_file(model, backend, revision), usable_threads()
    forward, head = openvino_forward(path, workers, _width(config)), _open_head(model, config, revision)
    return OpenBackend(backend, forward, (PROVIDER,), BATCH_SIZES[backend], path, head, workers)


def _open_torch(
    model: str, config: PretrainedConfig, provider: str, revision: str | None, attn_implementation: str | None
) -> OpenBackend:
    import torch

    from sentiment_hf.modeling.classifier import load_classifier
    from sentiment_hf.modeling.forward import torch_document_head, torch_forward

    if provider not in ("cpu", "cuda"):
        raise InputError(
            "provider cpu | cuda for torch", repr(provider), "tensorrt runs ONNX files: backend onnx or int8."
        )
    if provider == "cuda" and not torch.cuda.is_available():
        raise InputError("a GPU for provider cuda", "none", "Use provider cpu.")
    classifier = load_classifier(model, config, attn_implementation, revision).to(provider)
    weights = Path(model) / "model.safetensors"
    file = weights if weights.is_file() else None
    head = torch_document_head(classifier)
    forward = torch_forward(classifier)
    batch_size = BATCH_SIZES["torch"] if provider == "cpu" else GPU_BATCH_SIZE
    return OpenBackend("torch", forward, (provider,), batch_size, file, head, model=classifier)


def first_there(model: str, revision: str | None = None) -> str:
    """Choose what `auto` means: the checkpoint where there is one, else INT8 of ours that suits this machine, else FP32
    ONNX, else INT8 of others; torch, if there is nothing."""
    int8 = onnx_paths("int8")
    ours = [path for path in int8 if path.startswith(ONNX_FOLDER) and suits_this_machine(Path(path).name)]
    paths = [*CHECKPOINTS, *int8, *onnx_paths("onnx")]
    folder = Path(model)
    there = (
        {path for path in paths if (folder / path).is_file()} if folder.is_dir() else hub_has(model, paths, revision)
    )
    if not there or there & set(CHECKPOINTS):
        return "torch"
    return "int8" if there & set(ours) or not there & set(onnx_paths("onnx")) else "onnx"


def _width(config: PretrainedConfig) -> int | None:
    """Logits a text by the config; a config of our own has other heads."""
    return None if isinstance(config, OWN_CONFIGS) else config.num_labels


def _model_file(model: str, backend: str, revision: str | None, provider: str = "cpu") -> Path:
    """Find the first file of a backend that the model has."""
    paths, folder = onnx_paths(backend, provider), Path(model)
    if not folder.is_dir():
        return hub_file(model, paths, revision)
    for path in paths:
        if (folder / path).is_file():
            return folder / path
    files = sorted(str(item.relative_to(folder)) for pattern in ("onnx/*", "*.onnx") for item in folder.glob(pattern))
    quantize = "" if backend in ("onnx", "openvino") else " --quantize dynamic"
    if backend in ("static", "openvino_int8") or provider == "tensorrt":
        quantize = " --quantize static --activation_file FILE"
    expected = f"{paths[0]} in {model}"
    found = ", ".join(files) or "no ONNX files"
    raise InputError(expected, found, f"Make it: sentiment-hf compress export --model {model}{quantize}")
