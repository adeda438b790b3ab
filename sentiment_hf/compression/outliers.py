"""Outlier neurons: split off before quantization, so that they do not set the scale for all others.

In a feed-forward of a pretrained encoder one neuron's activation at the first token is ten or twenty times what all
others reach (massive activations, Sun et al. 2024). Eight bits that have to span it leave the others a dozen steps. As
in LLM.int8() (Dettmers et al. 2022) the few stay in FP32 and the rest is quantized; which they are does not depend on
the text, so that they are found once and the graph is cut there.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sentiment_hf.compression.quantization import OUTLIERS, FeedForward, feed_forwards

logger = logging.getLogger(__name__)

# An outlier reaches this many times what this share of the neurons stays below.
FACTOR, SHARE = 2.0, 0.99
# More of them would be no outliers, and cost time in FP32.
MAX_OUTLIERS = 16


def split_outliers(fp32_file: Path, batches: Sequence[dict[str, np.ndarray]], output: Path) -> Path:
    """Write the graph with outliers in a branch of their own, which stays in FP32; its logits are the same.

    Args:
        fp32_file: the plain export.
        batches: model inputs, `[rows, tokens]` each, that show what the neurons reach; some dozen texts are enough.
        output: the file to write.

    Returns:
        The output. Where no neuron stands out, it is the graph as it was.
    """
    import onnx

    model = onnx.load(str(fp32_file))
    neurons = {part.second.name: part.neurons for part in feed_forwards(model.graph)}
    reach = _reach(model, list(neurons.values()), batches)
    for name, activations in neurons.items():
        outliers = outliers_of(reach[activations])
        if len(outliers):
            logger.info("%s: neurons %s stay in FP32", name, outliers.tolist())
            # Found anew: splitting one makes the graph's list of nodes anew.
            _split(model.graph, next(part for part in feed_forwards(model.graph) if part.second.name == name), outliers)
    onnx.save(model, str(output))
    return output


def outliers_of(reach: np.ndarray) -> np.ndarray:
    """Find the neurons whose largest activations stand out, the largest first.

    Args:
        reach: the largest activation of each neuron, `[neurons]`.
    """
    order = np.argsort(reach)[::-1][:MAX_OUTLIERS]
    return order[reach[order] > FACTOR * np.quantile(reach, SHARE)]


def _reach(model: Any, names: Sequence[str], batches: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Measure the largest absolute value of each neuron over all tokens that are no padding."""
    import onnx
    import onnxruntime

    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = [item.name for item in session.get_inputs()]
    reach: dict[str, np.ndarray] = {}
    for batch in batches if names else ():
        is_token = batch["attention_mask"].astype(bool)
        activations = session.run(list(names), {name: batch[name] for name in inputs})
        for name, output in zip(names, activations, strict=True):
            # Behind the pooler there is one row a text.
            seen_rows = output[is_token] if output.shape[:2] == is_token.shape else output.reshape(-1, output.shape[-1])
            largest = np.abs(seen_rows).max(axis=0)
            reach[name] = np.maximum(reach.get(name, largest), largest)
    return reach


def _split(graph: Any, part: FeedForward, outliers: np.ndarray) -> None:
    """Move the outliers of one feed-forward into a branch beside it, which is added to its output."""
    from onnx import helper, numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    size = tensors[part.second.input[1]].dims[0]
    renamed: dict[str, str] = {part.first.output[0]: part.first.output[0] + OUTLIERS}

    def taken_out(name: str, axis: int) -> str:
        """Store the outliers' part of a weight under a new name, and return that; zeros take its place in the old one,
        unless that is shared."""
        weight = numpy_helper.to_array(tensors[name]).copy()
        # The exporter keeps equal weights, such as biases of zeros, once for all layers.
        own = f"{part.first.name}/{name}{OUTLIERS}"
        graph.initializer.append(numpy_helper.from_array(weight.take(outliers, axis), own))
        if uses[name] == 1:
            weight[(slice(None),) * axis + (outliers,)] = 0
            tensors[name].CopyFrom(numpy_helper.from_array(weight, name))
        return own

    first = helper.make_node(
        "MatMul",
        [part.first.input[0], taken_out(part.first.input[1], 1)],
        [renamed[part.first.output[0]]],
        part.first.name + OUTLIERS,
    )
    branch = [first]
    for node in part.between:
        copied = type(node)()
        copied.CopyFrom(node)
        copied.name += OUTLIERS
        for place, name in enumerate(node.input):
            if name in tensors and list(tensors[name].dims) == [size]:
                copied.input[place] = taken_out(name, 0)
            else:
                copied.input[place] = renamed.get(name, name)
        copied.output[0] = renamed[node.output[0]] = node.output[0] + OUTLIERS
        branch.append(copied)
    output = part.second.output[0] + OUTLIERS
    last = helper.make_node(
        "MatMul",
        [renamed[part.neurons], taken_out(part.second.input[1], 0)],
        [output],
        part.second.name + OUTLIERS,
    )
    # Added after the bias: a product and its bias are fused when the graph is loaded.
    readers = [node for node in graph.node if part.second.output[0] in node.input]
    has_bias = len(readers) == 1 and readers[0].op_type == "Add" and bool(set(readers[0].input) & set(tensors))
    end = readers[0] if has_bias else part.second
    whole, rest = end.output[0], end.output[0] + "/rest"
    end.output[0] = rest
    added = helper.make_node("Add", [rest, output], [whole], part.second.name + OUTLIERS + "/Add")
    nodes = list(graph.node)
    place = nodes.index(end) + 1
    del graph.node[:]
    graph.node.extend([*nodes[:place], *branch, last, added, *nodes[place:]])
