"""INT8: its settings, the parts of an ONNX graph, and dynamic quantization."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_hf.config.values import ACTIVATION_RANGES, ARCHS, QUANTIZATIONS, check_choice
from sentiment_hf.inference.onnx_session import INT8_FILES, resolve_arch, static_name
from sentiment_hf.utils.exceptions import InputError, MissingExtraError


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


# What INT8 is worth having for: products with weights and the embedding, most of the time and all of the size.
OPERATORS = ["MatMul", "Gather"]
# At the end of the names of nodes that were split off, see `sentiment_hf.compression.outliers`.
OUTLIERS = "/outliers"
# Of a feed-forward, what may lie between its two products besides the bias: an activation written out.
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Erf", "Tanh", "Pow", "Relu", "Sigmoid", "Gelu", "Identity", "Cast"}


def weighted_nodes(fp32_file: Path) -> dict[str, bool]:
    """Nodes of `OPERATORS` in the order of the graph, and whether each is to be quantized.

    A weight goes into those that are. The products inside attention and the outliers are left alone: quantizing costs
    more than it saves.
    """
    import onnx

    graph = onnx.load(str(fp32_file)).graph
    weights = {tensor.name for tensor in graph.initializer}
    return {
        node.name: bool(weights & set(node.input)) and not node.name.endswith(OUTLIERS)
        for node in graph.node
        if node.op_type in OPERATORS
    }


def unweighted_nodes(fp32_file: Path) -> list[str]:
    """Names of those that stay in FP32."""
    return [name for name, is_weighted in weighted_nodes(fp32_file).items() if not is_weighted]


@dataclass(frozen=True)
class FeedForward:
    """Nodes of `W2 · activation(W1 · x + b1)`.

    Attributes:
        first: the product with W1.
        between: what lies after it, in the order of the graph.
        second: the product with W2.
    """

    first: Any
    between: tuple[Any, ...]
    second: Any

    @property
    def neurons(self) -> str:
        """The tensor of the neurons' activations, `[…, neurons]`."""
        return str(self.second.input[0])


def feed_forwards(graph: Any) -> list[FeedForward]:
    """Every pair of products with weights between which there is nothing but a bias and an activation."""
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    uses = [name for node in graph.node for name in node.input]
    makers = {name: node for node in graph.node for name in node.output}

    def is_product(node: Any) -> bool:
        # Of a weight that two products share, a part cannot be taken out for one of them.
        return bool(
            node.op_type == "MatMul" and len(weights.get(node.input[1], ())) == 2 and uses.count(node.input[1]) == 1
        )

    found = []
    for second in filter(is_product, graph.node):
        between: dict[str, Any] = {}
        firsts: dict[str, Any] = {}
        open_ends = [second.input[0]]
        while open_ends:
            maker = makers.get(open_ends.pop())
            if maker is None or maker.op_type == "Constant" or maker.output[0] in between:
                continue
            if is_product(maker):
                firsts[maker.output[0]] = maker
            elif maker.op_type in _ELEMENTWISE:
                between[maker.output[0]] = maker
                open_ends += maker.input
            else:
                break
        else:
            if len(firsts) == 1 and between:
                ordered = tuple(node for node in graph.node if node.output[0] in between)
                found.append(FeedForward(next(iter(firsts.values())), ordered, second))
    return found
