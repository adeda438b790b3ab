"""ONNX Runtime providers: TensorRT, CUDA and CPU, their options and the fallback between them."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# What is tried, in this order, where the first cannot be had.
CHAINS = {"cpu": ("cpu",), "cuda": ("cuda", "cpu"), "tensorrt": ("tensorrt", "cuda", "cpu")}
# Where engines are kept: building one takes minutes, loading it a second.
CACHE_VARIABLE = "SENTIMENT_HF_CACHE"


@dataclass(frozen=True)
class Shapes:
    """Batches that a session will see: from one row of `bucket` tokens to `max_batch` rows of `max_length`.

    Attributes:
        max_batch: rows.
        max_length: tokens.
        bucket: batches are padded to multiples of so many tokens.
    """

    max_batch: int = 8
    max_length: int = 128
    bucket: int = 8

    @property
    def profile(self) -> dict[str, tuple[int, int]]:
        """TensorRT's optimisation profile: the least, the usual and the largest `(rows, tokens)`."""
        usual = max(self.bucket, self.max_length // 2 // self.bucket * self.bucket)
        return {"min": (1, self.bucket), "opt": (self.max_batch, usual), "max": (self.max_batch, self.max_length)}


def check_provider(provider: str) -> None:
    """Raise InputError for an unknown name of a provider."""
    if provider not in PROVIDERS:
        raise InputError(f"provider {' | '.join(PROVIDERS)}", repr(provider), "Use one of these names.")


def engine_folder(file: Path, shapes: Shapes) -> Path:
    """Where the engines of a file lie: another model, version or profile has another folder, so none goes stale."""
    import onnxruntime

    parts = [hashlib.sha256(file.read_bytes()).hexdigest(), onnxruntime.__version__, _tensorrt_version(), repr(shapes)]
    key = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
    home = os.environ.get(CACHE_VARIABLE) or str(Path.home() / ".cache" / "sentiment_hf")
    return Path(home) / "tensorrt" / f"{file.stem}-{key}"


def _tensorrt_version() -> str:
    for package in ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "of the system"


def tensorrt_options(file: Path, inputs: list[str], shapes: Shapes) -> dict[str, str]:
    """Options of onnxruntime's TensorRT provider: FP16, INT8 where the graph says so, caches, one profile.

    Args:
        file: the ONNX file; one with QuantizeLinear nodes runs in INT8.
        inputs: names of its inputs, all `[batch, tokens]`.
        shapes: what the session will see.
    """
    folder = engine_folder(file, shapes)
    options = {
        "trt_fp16_enable": "1",
        "trt_int8_enable": "1" if is_static(file) else "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
    for bound, (rows, tokens) in shapes.profile.items():
        options[f"trt_profile_{bound}_shapes"] = ",".join(f"{name}:{rows}x{tokens}" for name in inputs)
    return options


def is_static(file: Path) -> bool:
    """Whether a graph carries the ranges of its activations, as statically quantized ones do."""
    # The operator's name stands in the file as it is; parsing the whole graph would take onnx and a second.
    content = file.read_bytes()
    return b"QuantizeLinear" in content and b"DynamicQuantizeLinear" not in content


def open_with_fallback(file: Path, provider: str, options: Any, shapes: Shapes) -> Any:
    """Open an onnxruntime session on the first of a provider's chain that runs; one warning says what did not and why.

    Args:
        file: the ONNX file.
        provider: a key of `CHAINS`.
        options: onnxruntime's `SessionOptions`.
        shapes: what the session will see; each accelerator is warmed up with them.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    # Whichever of the chain runs in the end: a build without TensorRT still has CUDA.
    if any(PROVIDERS[name] in available for name in CHAINS[provider] if name != "cpu"):
        _load_cuda()
    reason = ""
    for place, name in enumerate(CHAINS[provider]):
        wanted = PROVIDERS[name]
        if wanted not in available:
            remedy = "the GPU build goes into a fresh environment: pip install 'sentiment_hf[gpu]'"
            reason = reason or f"this onnxruntime has {', '.join(available)}; {remedy}"
            continue
        try:
            session = _open(file, name, [PROVIDERS[rest] for rest in CHAINS[provider][place + 1 :]], options, shapes)
        except Exception as error:  # whatever a driver raises, the next provider may do without it
            reason = reason or str(error).strip().splitlines()[0]
            continue
        running = session.get_providers()[0]
        if running != PROVIDERS[provider]:
            why = reason or "onnxruntime could not start it; its own message stands above"
            logger.warning("%s does not run %s, %s does: %s", PROVIDERS[provider], file.name, running, why)
        return session
    raise InputError(f"a provider that runs {file.name}", reason, "Use provider cpu.")


def _open(file: Path, name: str, others: list[str], options: Any, shapes: Shapes) -> Any:
    import onnxruntime

    own: dict[str, str] = {}
    if name == "tensorrt":
        inputs = [
            item.name
            for item in onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"]).get_inputs()
        ]
        own = tensorrt_options(file, inputs, shapes)
        Path(own["trt_engine_cache_path"]).mkdir(parents=True, exist_ok=True)
    first: Any = (PROVIDERS[name], own) if own else PROVIDERS[name]
    session = onnxruntime.InferenceSession(str(file), options, providers=[first, *_known(others)])
    if name != "cpu":
        _warm_up(session, shapes)
    return session


def _load_cuda() -> None:
    """Let onnxruntime find CUDA and cuDNN where pip has put them, as it has for torch."""
    import onnxruntime

    if not hasattr(onnxruntime, "preload_dlls"):  # before 1.21
        return
    # It prints what it does not find; where that matters the session says so itself.
    with redirect_stdout(io.StringIO()) as printed:
        onnxruntime.preload_dlls()
    logger.debug("preload_dlls: %s", printed.getvalue().strip())


def _known(names: list[str]) -> list[str]:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    return [name for name in names if name in available]


def _warm_up(session: Any, shapes: Shapes) -> None:
    """One batch of each corner of the profile: engines are built here and not under a user's first text."""
    import numpy as np

    for rows, tokens in shapes.profile.values():
        batch = {item.name: np.ones((rows, tokens), dtype=np.int64) for item in session.get_inputs()}
        session.run(None, batch)
