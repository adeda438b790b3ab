"""ONNX files: where they lie in a model's folder, and how one runs on numpy arrays, through onnxruntime alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sentiment_hf.exceptions import InputError, MissingExtraError
from sentiment_hf.hardware import native_int8_arch

ONNX_FOLDER = "onnx"
FP32_FILE = "model.onnx"
# Of a hierarchical model: what reads over the encodings of chunks, which the other files make.
HEAD_FILE = "document_head.onnx"
# The target's name goes into the file's name: a file for VNNI gives wrong numbers on a processor without it.
INT8_FILES = {
    "avx512_vnni": "model_qint8_avx512_vnni.onnx",
    "avx2": "model_quint8_avx2.onnx",
    "arm64": "model_qint8_arm64.onnx",
}

# What a graph may answer, in the order in which the answers of a text stand side by side.
OUTPUTS = ("logits", "rating", "embedding")

# Unsigned weights need no VNNI to come out right, so this file runs on every processor, if not at full speed.
PORTABLE_ARCH = "avx2"

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


def resolve_arch(arch: str) -> str:
    """The INT8 target by name; `auto` is this machine's.

    Raises:
        InputError: an unknown target.
    """
    if arch == "auto":
        return native_int8_arch()
    if arch not in INT8_FILES:
        raise InputError(f"arch {' | '.join(INT8_FILES)} | auto", repr(arch), "Use one of these names.")
    return arch


def int8_names() -> list[str]:
    """INT8 files that give right numbers on this machine, the fastest first."""
    return list(dict.fromkeys([INT8_FILES[resolve_arch("auto")], INT8_FILES[PORTABLE_ARCH]]))


def open_session(path: str | Path, provider: str = "cpu") -> Any:
    """An onnxruntime session on one provider; what it really runs on is what `session.get_providers()` says.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        InputError: an unknown provider, or one that this onnxruntime does not have.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error
    if provider not in PROVIDERS:
        raise InputError(f"provider {' | '.join(PROVIDERS)}", repr(provider), "Use one of these names.")
    available = onnxruntime.get_available_providers()
    if PROVIDERS[provider] not in available:
        remedy = "Install the GPU build in a fresh environment: pip install 'sentiment_hf[gpu]'"
        raise InputError(f"an onnxruntime with {PROVIDERS[provider]}", ", ".join(available), remedy)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDERS[provider]])


def onnx_forward(session: Any) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """`{input_ids, attention_mask, …}` as integer arrays `[batch, tokens]` -> answers `[batch, width]`, as torch's."""
    names = [item.name for item in session.get_inputs()]
    outputs = [item.name for item in session.get_outputs() if item.name in OUTPUTS]
    outputs.sort(key=OUTPUTS.index)

    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        # A model without segments exports no token_type_ids, though its tokenizer may make them.
        answers = session.run(outputs, {name: batch[name] for name in names})
        return np.concatenate([answer.reshape(len(answer), -1) for answer in answers], axis=1)

    return forward


def onnx_document_head(session: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Encodings of a document's chunks `[chunks, hidden]` -> logits `[classes]`, as torch's."""

    def head(vectors: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["logits"], {"embedding": vectors[None]})[0][0])

    return head
