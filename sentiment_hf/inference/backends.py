"""Choose the backend and the model file: local folders and the Hub, torch, ONNX Runtime and OpenVINO."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

# HTTPError is the base class of the HTTP library in use, which is another one in each major of the client.
from huggingface_hub.errors import EntryNotFoundError, HTTPError, LocalEntryNotFoundError  # type: ignore[attr-defined]

from sentiment_hf.config.values import BACKENDS
from sentiment_hf.inference.onnx_providers import PROVIDERS, Shapes
from sentiment_hf.inference.onnx_session import (
    HEAD_FILE,
    ONNX_FOLDER,
    OTHER_INT8_FILES,
    check_inputs,
    fitting_inputs,
    logit_outputs,
    onnx_document_head,
    onnx_forward,
    onnx_paths,
    open_session,
    suits_this_machine,
)
from sentiment_hf.inference.scorer import BATCH_SIZES, DocumentHead, Forward
from sentiment_hf.modeling.configuration_bert_heads import HierarchicalBertConfig
from sentiment_hf.modeling.loading import OWN_CONFIGS
from sentiment_hf.utils.exceptions import InputError, MissingExtraError
from sentiment_hf.utils.hardware import usable_threads

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
    return OpenBackend(backend, forward, (OPENVINO_PROVIDER,), BATCH_SIZES[backend], path, head, workers)


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


def hub_has(model: str, paths: Sequence[str], revision: str | None) -> set[str]:
    """Which of these paths the repository has; without access to the Hub, which of them are in the cache."""
    try:
        return set(paths) & set(HfApi().list_repo_files(model, revision=revision))
    except (HTTPError, OSError, ValueError):
        # A path as text is a file; the cache also notes that a file was not there, and knows nothing of others.
        return {path for path in paths if isinstance(try_to_load_from_cache(model, path, revision=revision), str)}


def hub_file(model: str, paths: Sequence[str], revision: str | None) -> Path:
    """Get the first of these files that the repository has, from the cache or downloaded into it.

    Raises:
        InputError: it has none of them, or the Hub cannot be reached and the cache has none of them.
    """
    found = "none"
    # Weights of a large graph lie beside it, under a name that stands in it.
    beside = {path: [f"{path}_data", f"{path}.data"] for path in paths if path.endswith(".onnx")}
    there = hub_has(model, [*paths, *(name for names in beside.values() for name in names)], revision)
    # Where it has none, the client says why.
    for path in [path for path in paths if path in there] or paths[:1]:
        try:
            file = Path(hf_hub_download(model, path, revision=revision))
            for name in beside.get(path, ()):
                if name in there:
                    hf_hub_download(model, name, revision=revision)
            return file
        except LocalEntryNotFoundError:
            found = "no access to the Hub, and nothing in the cache"
        except EntryNotFoundError:
            continue
        except (HTTPError, OSError) as error:
            found = (str(error).strip().splitlines() or [type(error).__name__])[0]
    remedy = "Use backend torch; or give a folder that holds it."
    raise InputError(f"{paths[0]} in {model} on the Hub", found, remedy)


# What `OpenBackend.providers` says, beside the names of onnxruntime's providers.
OPENVINO_PROVIDER = "OpenVINOCPU"


def openvino_forward(
    path: Path, threads: int, width: int | None = None
) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """`{input_ids, attention_mask, …}` as integer arrays `[batch, tokens]` -> logits `[batch, width]`, as torch's.

    Weights in FP32 are computed in bfloat16 where the processor has instructions for it; a static INT8 graph in INT8.

    Args:
        path: the ONNX file.
        threads: as many callers may call at the same time, each on a thread of its own; others wait.
        width: logits a text by the config, if it says so.

    Raises:
        InputError: see `logit_outputs` and `check_inputs`.
        MissingExtraError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino") from error
    settings = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    types = {port.get_any_name(): port.get_element_type().to_dtype() for port in compiled.inputs}
    check_inputs(list(types), path)
    ports = {port.get_any_name(): port for port in compiled.outputs}
    shapes = {
        name: [None if axis.is_dynamic else axis.get_length() for axis in port.get_partial_shape()]
        for name, port in ports.items()
    }
    outputs = [ports[name] for name in logit_outputs(shapes, width, path)]
    # A request is one caller's as long as it runs.
    requests: SimpleQueue[Any] = SimpleQueue()
    for _ in range(threads):
        requests.put(compiled.create_infer_request())

    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        request = requests.get()
        try:
            results = request.infer(fitting_inputs(batch, types))
            rows = [np.array(results[port]) for port in outputs]
        finally:
            requests.put(request)
        return np.concatenate([array.reshape(len(array), -1) for array in rows], axis=1, dtype=np.float32)

    return forward
