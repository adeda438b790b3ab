"""Smaller layers: feed-forward neurons, attention heads and whole layers that matter least are taken out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.configuration_bert_heads import HeadPrunedBertConfig
from sentiment_hf.modeling.modeling_head_pruned import HeadPrunedBertForSequenceClassification

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Importance:
    """How much each part of each layer matters.

    Attributes:
        neurons: `[layers, intermediate]`.
        heads: `[layers, heads]`.
    """

    neurons: np.ndarray
    heads: np.ndarray


def first_order_importance(
    model: PreTrainedModel, batches: Sequence[dict[str, torch.Tensor]], show_progress: bool = False
) -> Importance:
    """What the loss would change by if a part were silenced, to first order: `|Σ activation · gradient|` of each text.

    Michel et al. 2019, "Are Sixteen Heads Really Better than One?", and Molchanov et al. 2019, "Importance Estimation
    for Neural Network Pruning". Importance is divided by the norm of its layer, since gradients of layers differ in
    size.

    Args:
        model: a BERT classifier of one label.
        batches: padded batches with `labels`, from the training rows.
        show_progress: with a bar.
    """
    layers: Any = model.bert.encoder.layer
    heads = layers[0].attention.self.num_attention_heads
    neurons = torch.zeros(len(layers), layers[0].intermediate.dense.out_features)
    by_head = torch.zeros(len(layers), heads)
    model.eval()
    for batch in tqdm(batches, unit="batch", desc="Weighing", disable=not show_progress):
        features = {name: value for name, value in batch.items() if name != "labels"}
        logits, contexts, activations = _watched_forward(model, layers, features)
        loss = F.cross_entropy(logits, batch["labels"], reduction="sum")
        gradients = torch.autograd.grad(loss, [*contexts, *activations])
        for place in range(len(layers)):
            context = (contexts[place].detach() * gradients[place]).unflatten(-1, (heads, -1))
            by_head[place] += context.sum(dim=(1, 3)).abs().sum(dim=0)
            activation = activations[place].detach() * gradients[len(layers) + place]
            neurons[place] += activation.sum(dim=1).abs().sum(dim=0)
    scores = [values / values.norm(dim=1, keepdim=True).clamp(min=1e-12) for values in (neurons, by_head)]
    return Importance(scores[0].numpy(), scores[1].numpy())


def _watched_forward(
    model: PreTrainedModel, layers: Any, features: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Logits, and what went into each layer's two output projections: its heads side by side, and its neurons."""
    contexts: list[torch.Tensor] = []
    activations: list[torch.Tensor] = []
    handles = []
    for layer in layers:
        for module, caught in ((layer.attention.output.dense, contexts), (layer.output.dense, activations)):
            handles.append(module.register_forward_pre_hook(lambda _, given, caught=caught: caught.append(given[0])))
    try:
        return model(**features).logits, contexts, activations
    finally:
        for handle in handles:
            handle.remove()


def kept_count(total: int, share: float, what: str) -> int:
    """How many of `total` a share keeps.

    Raises:
        InputError: none, or a share that is none.
    """
    if not 0 < share <= 1:
        raise InputError(f"a share of {what} to keep, above 0 and at most 1", str(share), "0.5 keeps half.")
    count = round(total * share)
    if count < 1:
        raise InputError(f"at least one of {total} {what} to keep", f"a share of {share}", "Keep more.")
    return count


def prune_neurons(model: PreTrainedModel, importance: np.ndarray, share: float) -> None:
    """Keep the same number of feed-forward neurons in every layer, the most important ones, in place.

    The config stays BERT's own, with another `intermediate_size`.
    """
    layers: Any = model.bert.encoder.layer
    count = kept_count(layers[0].intermediate.dense.out_features, share, "neurons")
    for layer, scores in zip(layers, importance, strict=True):
        kept = torch.as_tensor(np.sort(np.argsort(-scores, kind="stable")[:count]))
        layer.intermediate.dense = _narrowed(layer.intermediate.dense, rows=kept)
        layer.output.dense = _narrowed(layer.output.dense, columns=kept)
    model.config.intermediate_size = count


def prune_heads(model: PreTrainedModel, importance: np.ndarray, share: float) -> PreTrainedModel:
    """A model with the same number of heads in every layer, the most important ones.

    BERT ties a head's size to the number of heads, so the class is ours unless all of them stay.
    """
    layers: Any = model.bert.encoder.layer
    attention = layers[0].attention.self
    heads, size = attention.num_attention_heads, attention.attention_head_size
    count = kept_count(heads, share, "heads")
    if count == heads:
        return model
    inherited = {
        name: value for name, value in model.config.to_dict().items() if name not in ("model_type", "auto_map")
    }
    config = HeadPrunedBertConfig(**inherited | {"num_attention_heads": count, "attention_head_size": size})
    weights = model.state_dict()
    for place, scores in enumerate(importance):
        kept = np.sort(np.argsort(-scores, kind="stable")[:count])
        columns = torch.as_tensor(np.concatenate([np.arange(head * size, (head + 1) * size) for head in kept]))
        prefix = f"bert.encoder.layer.{place}.attention."
        for name in ("query", "key", "value"):
            for part in ("weight", "bias"):
                weights[f"{prefix}self.{name}.{part}"] = weights[f"{prefix}self.{name}.{part}"][columns]
        weights[f"{prefix}output.dense.weight"] = weights[f"{prefix}output.dense.weight"][:, columns]
    pruned = HeadPrunedBertForSequenceClassification(config)
    pruned.load_state_dict(weights)
    return pruned.eval()


def prune_layers(model: PreTrainedModel, kept: Sequence[int]) -> None:
    """Keep some layers, in place.

    Raises:
        InputError: none, or layers that are not there.
    """
    layers: Any = model.bert.encoder.layer
    if not kept or sorted(set(kept)) != list(kept) or not 0 <= kept[0] <= kept[-1] < len(layers):
        found = ", ".join(map(str, kept)) or "none"
        raise InputError(f"rising layers from 0 to {len(layers) - 1} to keep", found, "Count them from 0.")
    model.bert.encoder.layer = nn.ModuleList(layers[place] for place in kept)
    for place, layer in enumerate(model.bert.encoder.layer):
        # Caches of generation, which a classifier has no use for, go by this number.
        if hasattr(layer.attention.self, "layer_idx"):
            layer.attention.self.layer_idx = place
    model.config.num_hidden_layers = len(kept)


def _narrowed(linear: nn.Linear, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> nn.Linear:
    weight, bias = linear.weight.data, linear.bias.data
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    smaller = nn.Linear(weight.shape[1], weight.shape[0])
    smaller.weight.data, smaller.bias.data = weight.clone(), bias.clone()
    return smaller
