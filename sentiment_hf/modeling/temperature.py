"""A temperature becomes part of a model's files: logits that are divided by it already, in whatever loads them.

In the checkpoint the last layer's weight and bias are divided. An ONNX graph, of whatever precision, ends in one more
product with a number; its quantized weights stay as the gate saw them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from transformers import PretrainedConfig

from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.files import read_json
from sentiment_hf.modeling.configuration_bert_heads import HierarchicalBertConfig

# Name of the product at the end of a graph, and of the number that it multiplies by.
SCALE = "sentiment_hf/temperature"
# Weights that this package does not write, which other loaders may take.
_OTHERS = ("pytorch_model*.bin", "tf_model*.h5", "flax_model*.msgpack", "adapter_model.*", "**/openvino*.xml")
_INDEX = "model.safetensors.index.json"
_TOLERANCE = 1e-4


class CannotFold(Exception):
    """Why a temperature cannot be divided into a model's files, in a sentence that names the file."""


def fold_temperature(
    folder: Path, staging: Path, config: PretrainedConfig, settings: TextSettings, temperature: float
) -> None:
    """Write every file of a model that holds its last layer into another folder, logits divided by a temperature.

    Args:
        folder: of a saved classifier of one label.
        staging: an empty folder.
        config: the classifier's.
        settings: the classifier's.
        temperature: above 0.

    Raises:
        CannotFold: for one of the files, so that for none of them; nothing of `staging` is to be used then.
    """
    is_hierarchical = isinstance(config, HierarchicalBertConfig)
    if settings.is_sliding and settings.aggregation == "logsumexp" and not is_hierarchical:
        # The logarithm of a sum of exponentials does not scale with what is summed.
        raise CannotFold("the chunks' logits are put together by logsumexp, and dividing them first is not the same")
    for pattern in _OTHERS:
        for path in sorted(folder.glob(pattern)):
            remedy = "remove it or convert it to model.safetensors"
            raise CannotFold(f"{path.relative_to(folder)} holds weights in a form that is not written here; {remedy}")
    graphs = sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])
    folded = [_fold_graph(path, folder, staging, temperature) for path in graphs]
    if any((folder / name).is_file() for name in ("model.safetensors", _INDEX)):
        _fold_checkpoint(folder, staging, config, temperature)
    elif not any(folded):
        raise CannotFold("no file of weights was found")


def _fold_checkpoint(folder: Path, staging: Path, config: PretrainedConfig, temperature: float) -> None:
    if find_spec("torch") is None:
        raise CannotFold("model.safetensors is written with torch, which is not installed")
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    from sentiment_hf.modeling.classifier import load_classifier
    from sentiment_hf.modeling.forward import last_linear

    model = load_classifier(str(folder), config).eval()
    name, layer = last_linear(model, config.num_labels)
    remedy = "the temperature is applied by sentiment_hf alone"
    if layer is None:
        raise CannotFold(f"the model in model.safetensors has no linear layer that gives its logits; {remedy}")
    parameters = {f"{name}.{key}": value for key, value in layer.named_parameters()}
    ids = (torch.arange(8) % config.vocab_size).unsqueeze(0)
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        for value in parameters.values():
            value.div_(temperature)
        after = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    if not torch.allclose(before, after * temperature, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise CannotFold(f"{name} in model.safetensors is not the last layer of the model; {remedy}")
    path = folder / "model.safetensors"
    if not path.is_file():
        shards = {read_json(folder / _INDEX)["weight_map"].get(key) for key in parameters}
        if len(shards) != 1 or None in shards:
            raise CannotFold(f"{_INDEX} has {name} in several files; save the model with larger ones")
        path = folder / str(shards.pop())
    with safe_open(path, "pt") as weights:
        metadata = weights.metadata()
        tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
    if not parameters.keys() <= tensors.keys():
        raise CannotFold(f"{path.name} calls the weights of {name} something else; save the model anew")
    # In FP32 whatever the others are in: rounded to fewer bits, logits would not be quotients any more.
    tensors |= {key: value.detach().contiguous() for key, value in parameters.items()}
    save_file(tensors, staging / path.name, metadata)
    (staging / path.name).chmod(path.stat().st_mode & 0o777)


def _fold_graph(path: Path, folder: Path, staging: Path, temperature: float) -> bool:
    """Whether a graph's outputs are logits, which are then divided in the copy that is written."""
    shown = path.relative_to(folder)
    try:
        import onnx
    except ImportError as error:
        raise CannotFold(f"{shown} is changed with onnx, which is not installed: pip install onnx") from error
    from onnx import helper, numpy_helper

    # Weights in a file beside it stay there.
    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    outputs = {output.name: output for output in graph.output}
    if "logits" not in outputs:
        if "embedding" in outputs:
            # Of a hierarchical model: what reads over these is the last layer.
            return False
        raise CannotFold(f"{shown} has no output named logits; export it anew with sentiment-hf compress export")
    dtype = helper.tensor_dtype_to_np_dtype(outputs["logits"].type.tensor_type.elem_type)
    scales = [tensor for tensor in graph.initializer if tensor.name == SCALE]
    if scales:
        scale = np.asarray(numpy_helper.to_array(scales[0]) / temperature, dtype=dtype)
        scales[0].CopyFrom(numpy_helper.from_array(scale, SCALE))
    else:
        for node in graph.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == "logits":
                        names[place] = f"{SCALE}/logits"
        graph.initializer.append(numpy_helper.from_array(np.asarray(1 / temperature, dtype=dtype), SCALE))
        graph.node.append(helper.make_node("Mul", [f"{SCALE}/logits", SCALE], ["logits"], SCALE))
    target = staging / shown
    target.parent.mkdir(exist_ok=True)
    onnx.save(model, str(target))
    target.chmod(path.stat().st_mode & 0o777)
    return True
