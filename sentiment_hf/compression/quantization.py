"""Dynamic INT8 quantization and the quality gate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_hf.exceptions import MissingExtraError
from sentiment_hf.modeling.onnx_session import INT8_FILES, resolve_arch


@dataclass(frozen=True)
class GateResult:
    """What the gate saw on dev, in points (percent) of the task's metric.

    Attributes:
        metric: its name.
        fp32: FP32's score.
        int8: INT8's score.
        max_drop: what INT8 was allowed to lose.
    """

    metric: str
    fp32: float
    int8: float
    max_drop: float

    @property
    def passed(self) -> bool:
        # Rounded, so that a drop of exactly max_drop does not fail by the last bit of a double.
        return round(self.fp32 - self.int8, 9) <= self.max_drop

    def __str__(self) -> str:
        return (
            f"{self.metric} on dev: FP32 {self.fp32:.2f}, INT8 {self.int8:.2f}, a drop of {self.fp32 - self.int8:.2f} "
            f"points where at most {self.max_drop:g} are allowed"
        )


def quantize_dynamic(fp32_file: Path, output: Path, arch: str) -> Path:
    """Quantize the plain FP32 export: weights per channel to 8 bits, activations as they come.

    Args:
        fp32_file: not optimised before: Optimum's quantizer fails on a fused graph, and the session fuses at load.
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
    quantizer = ORTQuantizer.from_pretrained(fp32_file.parent, file_name=fp32_file.name)
    quantizer.quantize(config, save_dir=output, file_suffix="quantized")
    return (output / f"{fp32_file.stem}_quantized.onnx").rename(output / INT8_FILES[target])
