"""ONNX files: where they lie in a model's folder, and how one runs on numpy arrays, through onnxruntime alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sentiment_hf.exceptions import InputError, MissingExtraError
from sentiment_hf.hardware import native_int8_arch
from sentiment_hf.modeling.onnx_providers import Shapes, check_provider, open_with_fallback

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


def static_name(target: str) -> str:
    """The file with activation ranges from calibration: for a processor of `INT8_FILES`, or for `tensorrt`."""
    return INT8_FILES.get(target, f"model_qint8_{target}.onnx").replace("model_", "model_static_", 1)


def int8_names(backend: str = "int8", provider: str = "cpu") -> list[str]:
    """INT8 files in the order in which they are looked for.

    Those for this machine come first, then the one that runs everywhere, then those for other processors, which are
    better than none.

    Args:
        backend: `int8` for activations quantized as they come, or, where no such file is, statically; `static` for the
            latter alone.
        provider: TensorRT takes its own static file alone.
    """
    if provider == "tensorrt":
        return [static_name("tensorrt")]
    targets = list(dict.fromkeys([resolve_arch("auto"), PORTABLE_ARCH, *INT8_FILES]))
    static = [static_name(target) for target in targets]
    return static if backend == "static" else [INT8_FILES[target] for target in targets] + static


def suits_this_machine(name: str) -> bool:
    """Whether an INT8 file of this name gives right numbers on this processor."""
    return any(name in (INT8_FILES[target], static_name(target)) for target in (resolve_arch("auto"), PORTABLE_ARCH))


def open_session(
    path: str | Path, provider: str = "cpu", threads: int | None = None, shapes: Shapes | None = None
) -> Any:
    """An onnxruntime session; what it really runs on is what `session.get_providers()` says.

    Args:
        path: the ONNX file.
        provider: `cpu`, `cuda` or `tensorrt`; where one does not run the next does, with a warning.
        threads: processor threads of one call; by default as many as the machine has cores. Several callers at once do
            more with one each (see `TextScorer.workers`).
        shapes: the batches to come, for TensorRT's profile and the warm-up.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        InputError: an unknown provider.
    """
    check_provider(provider)
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx" if provider == "cpu" else "gpu") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    return open_with_fallback(Path(path), provider, options, shapes or Shapes())


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
