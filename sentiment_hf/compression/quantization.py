"""INT8: how it is asked for, and the dynamic kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_hf.compression.graph import unweighted_nodes
from sentiment_hf.exceptions import InputError, MissingExtraError
from sentiment_hf.modeling.onnx_session import INT8_FILES, resolve_arch, static_name
from sentiment_hf.option_values import ACTIVATION_RANGES, ARCHS, QUANTIZATIONS, check_choice


@dataclass(frozen=True)
class Quantization:
    """How a model becomes INT8.

    Attributes:
        method: `none`, `dynamic` (activation ranges are taken as they come) or `static` (taken beforehand, from
            calibration rows; what TensorRT wants).
        arch: processor that the file is for, a key of `INT8_FILES`, or `auto`; or `tensorrt`, static only.
        max_drop: points of the task's metric that INT8 may lose on validation.
        activation_ranges: how a range is read off the values seen: `minmax`, `entropy` (Migacz 2017) or `percentile`.
        sensitivity: static only: find the products that cost most on validation and keep them in FP32 until the gate
            passes.
    """

    method: str = "dynamic"
    arch: str = "auto"
    max_drop: float = 0.5
    activation_ranges: str = "minmax"
    sensitivity: bool = False

    def __post_init__(self) -> None:
        check_choice("quantize", self.method, QUANTIZATIONS)
        check_choice("arch", self.arch, ARCHS)
        check_choice("activation_ranges", self.activation_ranges, ACTIVATION_RANGES)
        if self.max_drop < 0:
            raise InputError("max_drop of at least 0 points", str(self.max_drop), "0.5 is the default.")
        if self.arch == "tensorrt" and self.method != "static":
            raise InputError(
                "quantize: static for TensorRT",
                self.method,
                "Set it, and give training rows for the activation ranges.",
            )
        if self.sensitivity and self.method != "static":
            raise InputError("quantize: static for a sensitivity sweep", self.method, "Set it, or leave the sweep out.")

    @property
    def backend(self) -> str:
        """By which name `SentimentClassifier` opens the file."""
        return "static" if self.method == "static" else "int8"

    @property
    def file_name(self) -> str:
        """Of the file that comes out."""
        if self.method == "static":
            return static_name(self.arch if self.arch == "tensorrt" else resolve_arch(self.arch))
        return INT8_FILES[resolve_arch(self.arch)]


def quantize_dynamic(fp32_file: Path, output: Path, arch: str) -> Path:
    """Quantize an FP32 export: weights per channel to 8 bits, activations as they come.

    Args:
        fp32_file: best with its outliers split off, and not optimised: Optimum's quantizer fails on a fused graph, and
            the session fuses at load.
        output: folder for the file.
        arch: a key of `INT8_FILES`, or `auto`.

    Raises:
        MissingExtraError: Optimum's ONNX part is not installed.
    """
    try:
        from optimum.onnxruntime import ORTQuantizer
        from optimum.onnxruntime.configuration import AutoQuantizationConfig
    except ImportError as error:
        raise MissingExtraError("optimum-onnx", "onnx") from error
    target = resolve_arch(arch)
    config: Any = getattr(AutoQuantizationConfig, target)(is_static=False, per_channel=True)
    config.nodes_to_exclude = unweighted_nodes(fp32_file)
    quantizer = ORTQuantizer.from_pretrained(fp32_file.parent, file_name=fp32_file.name)
    quantizer.quantize(config, save_dir=output, file_suffix="quantized")
    return (output / f"{fp32_file.stem}_quantized.onnx").rename(output / INT8_FILES[target])
