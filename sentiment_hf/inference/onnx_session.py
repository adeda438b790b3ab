"""Find the ONNX files of a model, and run them on numpy arrays with onnxruntime alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sentiment_hf.inference.onnx_providers import Shapes, check_provider, open_with_fallback
from sentiment_hf.utils.exceptions import InputError, MissingExtraError
from sentiment_hf.utils.hardware import native_int8_arch

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

# What others (Optimum, sentence-transformers, transformers.js) call their files, beside ours or in a model's root.
# Half precision comes last: a processor computes it as single precision.
OTHER_FP32_FILES = ("model_optimized.onnx", "model_O1.onnx", "model_O2.onnx", "model_O3.onnx", "model_fp16.onnx")
OTHER_INT8_FILES = (
    "model_quantized.onnx",
    "model_int8.onnx",
    "model_uint8.onnx",
    "model_qint8_avx512.onnx",
    "model_qint8.onnx",
    "model_quint8.onnx",
)

# A graph's outputs, in the order in which those of a text stand side by side.
OUTPUTS = ("logits", "rating", "embedding")
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")

# Unsigned weights need no VNNI to come out right, so this file runs on every processor, if not at full speed.
PORTABLE_ARCH = "avx2"


def resolve_arch(arch: str) -> str:
    """Resolve the name of an INT8 target; `auto` is this machine's.

    Raises:
        InputError: an unknown target.
    """
    if arch == "auto":
        return native_int8_arch()
    if arch not in INT8_FILES:
        raise InputError(f"arch {' | '.join(INT8_FILES)} | auto", repr(arch), "Use one of these names.")
    return arch


def static_name(target: str) -> str:
    """Name the file with activation ranges: for a processor of `INT8_FILES`, or for `tensorrt`."""
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


def onnx_paths(backend: str, provider: str = "cpu") -> list[str]:
    """Files of a backend, relative to the model, in the order in which they are looked for: ours, then others' names.

    Args:
        backend: `onnx`, `int8`, `static`, `openvino` or `openvino_int8`.
        provider: see `int8_names`.
    """
    if backend in ("onnx", "openvino"):
        names = [FP32_FILE, *OTHER_FP32_FILES]
        return [path for name in names for path in (f"{ONNX_FOLDER}/{name}", name)]
    if backend == "openvino_int8":
        ours = [*int8_names("static"), static_name("tensorrt")]
    else:
        ours = int8_names(backend, provider)
    others = [] if backend != "int8" or provider == "tensorrt" else [*OTHER_INT8_FILES, *INT8_FILES.values()]
    paths = [f"{ONNX_FOLDER}/{name}" for name in ours]
    return paths + [path for name in others for path in (f"{ONNX_FOLDER}/{name}", name) if path not in paths]


def logit_outputs(shapes: Mapping[str, Sequence[Any]], width: int | None, file: Path) -> list[str]:
    """Find the outputs of a graph that hold logits, in the order of `OUTPUTS`.

    Args:
        shapes: name -> its axes; of one that varies anything but an integer.
        width: logits a text by the config; None where it does not say.
        file: for the message.

    Raises:
        InputError: the graph judges tokens, or encodes the text, or has another number of labels.
    """
    names = sorted((name for name in shapes if name in OUTPUTS), key=OUTPUTS.index)
    if not names and len(shapes) == 1 and len(next(iter(shapes.values()))) == 2:
        # Exported by hand, without a name.
        names = list(shapes)
    remedy = (
        "It is no trained classifier; export one with `sentiment-hf compress export`, or train one from its checkpoint."
    )
    if not names or (len(shapes[names[0]]) == 3 and not isinstance(shapes[names[0]][1], int)):
        found = ", ".join(f"{name} {list(axes)}" for name, axes in shapes.items())
        raise InputError(f"logits of a text in {file}", f"a model without a trained head: outputs {found}", remedy)
    last = shapes[names[0]][-1] if shapes[names[0]] else None
    if width is not None and isinstance(last, int) and last != width:
        found = f"{last} in {file.name}"
        raise InputError(f"a logit for each of the {width} labels of the config", found, remedy)
    return names


def check_inputs(names: Sequence[str], file: Path) -> None:
    """Raise InputError where a graph reads something else than a text's tokens."""
    unknown = [name for name in names if name not in INPUTS]
    if unknown:
        remedy = "Export the model for text-classification, without a cache."
        raise InputError(f"inputs {', '.join(INPUTS)} of {file}", ", ".join(unknown[:3]), remedy)


def fitting_inputs(batch: dict[str, np.ndarray], types: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Select what a graph reads: `types` says which fields, and which integers; those no tokenizer makes are filled
    in."""
    given = dict(batch)
    if "token_type_ids" in types and "token_type_ids" not in given:
        given["token_type_ids"] = np.zeros_like(given["input_ids"])
    if "position_ids" in types:
        # As transformers counts them for decoders, which alone export them.
        given["position_ids"] = np.maximum(given["attention_mask"].cumsum(axis=1) - 1, 0)
    return {name: given[name].astype(kind, copy=False) for name, kind in types.items()}


def suits_this_machine(name: str) -> bool:
    """Whether an INT8 file of this name gives right numbers on this processor."""
    return any(name in (INT8_FILES[target], static_name(target)) for target in (resolve_arch("auto"), PORTABLE_ARCH))


def open_session(
    path: str | Path, provider: str = "cpu", threads: int | None = None, shapes: Shapes | None = None
) -> Any:
    """Open an onnxruntime session; what it really runs on is what `session.get_providers()` says.

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


def onnx_forward(
    session: Any, width: int | None = None, file: Path | None = None
) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """`{input_ids, …}` as integer arrays `[batch, tokens]` -> FP32 logits `[batch, width]`, as torch's.

    Raises:
        InputError: see `logit_outputs` and `check_inputs`.
    """
    file = file or Path(FP32_FILE)
    # A model without segments exports no token_type_ids, though its tokenizer may make them.
    types = {item.name: np.int32 if "int32" in item.type else np.int64 for item in session.get_inputs()}
    check_inputs(list(types), file)
    outputs = logit_outputs({item.name: item.shape for item in session.get_outputs()}, width, file)

    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        results = session.run(outputs, fitting_inputs(batch, types))
        return np.concatenate([array.reshape(len(array), -1) for array in results], axis=1, dtype=np.float32)

    return forward


def onnx_document_head(session: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Wrap a session as a function: encodings of a document's chunks `[chunks, hidden]` -> logits `[classes]`, as
    torch's."""

    def head(vectors: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["logits"], {"embedding": vectors[None]})[0][0])

    return head
