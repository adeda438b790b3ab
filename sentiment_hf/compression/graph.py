"""What an exported graph consists of: products with weights, and the feed-forwards that two of them make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
