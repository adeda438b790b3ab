"""Which file of a model runs, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment_hf.evaluation.prediction import Forward
from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.onnx_session import (
    FP32_FILE,
    INT8_FILES,
    ONNX_FOLDER,
    onnx_forward,
    open_session,
    resolve_arch,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig

BACKENDS = ("torch", "onnx", "int8")
# In small batches of sorted texts next to nothing is padding; torch has more overhead a call.
BATCH_SIZES = {"torch": 32, "onnx": 8, "int8": 8}


@dataclass(frozen=True)
class OpenBackend:
    """A model that is ready to run."""

    forward: Forward
    providers: tuple[str, ...]
    batch_size: int
    file: Path | None


def open_backend(
    model: str, config: PretrainedConfig, backend: str, provider: str, revision: str | None = None
) -> OpenBackend:
    """Open the file that `backend` names on `provider`; see `SentimentClassifier.from_pretrained`."""
    if backend not in BACKENDS:
        raise InputError(f"backend {' | '.join(BACKENDS)}", repr(backend), "Use one of these names.")
    if backend == "torch":
        return _open_torch(model, config, provider, revision)
    path = _model_file(model, FP32_FILE if backend == "onnx" else INT8_FILES[resolve_arch("auto")], revision)
    session = open_session(path, provider)
    return OpenBackend(onnx_forward(session), tuple(session.get_providers()), BATCH_SIZES[backend], path)


def _open_torch(model: str, config: PretrainedConfig, provider: str, revision: str | None) -> OpenBackend:
    import torch

    from sentiment_hf.modeling.classifier import load_classifier
    from sentiment_hf.modeling.forward import torch_forward

    if provider not in ("cpu", "cuda"):
        raise InputError(
            "provider cpu | cuda for torch", repr(provider), "tensorrt runs ONNX files: backend onnx or int8."
        )
    if provider == "cuda" and not torch.cuda.is_available():
        raise InputError("a GPU for provider cuda", "none", "Use provider cpu.")
    classifier = load_classifier(model, config, revision=revision).to(provider)
    weights = Path(model) / "model.safetensors"
    return OpenBackend(
        torch_forward(classifier), (provider,), BATCH_SIZES["torch"], weights if weights.is_file() else None
    )


def _model_file(model: str, file: str, revision: str | None) -> Path:
    folder = Path(model)
    name = f"{ONNX_FOLDER}/{file}"
    if folder.is_dir():
        if not (folder / name).is_file():
            found = (
                ", ".join(sorted(str(item.relative_to(folder)) for item in folder.glob("onnx/*"))) or "no ONNX files"
            )
            quantize = "" if file == FP32_FILE else " --quantize dynamic"
            raise InputError(f"{name} in {model}", found, f"Make it: sentiment-hf export --model {model}{quantize}")
        return folder / name
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model, name, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(f"{name} in {model} on the Hub", str(error).splitlines()[0], "Use backend torch.") from error
