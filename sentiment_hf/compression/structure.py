"""Structured pruning: remove the least important neurons, attention heads, layers and hidden dimensions."""

from __future__ import annotations

import copy
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

from sentiment_hf.modeling.configuration_bert_heads import HeadPrunedBertConfig
from sentiment_hf.modeling.modeling_bert_heads import HeadPrunedBertForSequenceClassification
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Importance:
    """How much each part of each layer matters.

    Attributes:
        neurons: `[layers, intermediate]`.
        heads: `[layers, heads]`.
        hidden: `[hidden]`, of the dimensions that all layers share.
        pooled: `[hidden]`, of those that the classifier reads.
    """

    neurons: np.ndarray
    heads: np.ndarray
    hidden: np.ndarray
    pooled: np.ndarray


def first_order_importance(
    model: PreTrainedModel, batches: Sequence[dict[str, torch.Tensor]], show_progress: bool = False
) -> Importance:
    """Estimate to first order how silencing a part would change the loss: `|Σ activation · gradient|` of each text.

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
    hidden, pooled = torch.zeros(model.config.hidden_size), torch.zeros(model.config.hidden_size)
    model.eval()
    for batch in tqdm(batches, unit="batch", desc="Weighing", disable=not show_progress):
        features = {name: value for name, value in batch.items() if name != "labels"}
        logits, seen = _watched_forward(model, layers, features)
        loss = F.cross_entropy(logits, batch["labels"], reduction="sum")
        watched = [*seen.contexts, *seen.activations, *seen.streams, *seen.pooled]
        # To first order: what each value adds to the loss.
        effects = [
            value.detach() * slope for value, slope in zip(watched, torch.autograd.grad(loss, watched), strict=True)
        ]
        for place in range(len(layers)):
            by_head[place] += effects[place].unflatten(-1, (heads, -1)).sum(dim=(1, 3)).abs().sum(dim=0)
            neurons[place] += effects[len(layers) + place].sum(dim=1).abs().sum(dim=0)
        pooled += effects[-1].abs().sum(dim=0)
        for effect in effects[2 * len(layers) : -1]:
            hidden += effect.sum(dim=1).abs().sum(dim=0)
    scores = [
        values / values.norm(dim=-1, keepdim=True).clamp(min=1e-12) for values in (neurons, by_head, hidden, pooled)
    ]
    return Importance(*(values.numpy() for values in scores))


@dataclass
class _Seen:
    """Of each layer its heads side by side and its neurons; the residual stream after each norm; what is classified."""

    contexts: list[torch.Tensor]
    activations: list[torch.Tensor]
    streams: list[torch.Tensor]
    pooled: list[torch.Tensor]


def _watched_forward(
    model: PreTrainedModel, layers: Any, features: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, _Seen]:
    """Logits, and what went through on the way to them."""
    seen = _Seen([], [], [], [])
    handles = []
    read = [(model.classifier, seen.pooled)]
    for layer in layers:
        read += [(layer.attention.output.dense, seen.contexts), (layer.output.dense, seen.activations)]
    for module, caught in read:
        handles.append(module.register_forward_pre_hook(lambda _, given, caught=caught: caught.append(given[0])))
    for norm in _norms(model):
        handles.append(norm.register_forward_hook(lambda _, given, out: seen.streams.append(out)))
    try:
        return model(**features).logits, seen
    finally:
        for handle in handles:
            handle.remove()


def _norms(model: PreTrainedModel) -> list[nn.LayerNorm]:
    layers: Any = model.bert.encoder.layer
    norms = [model.bert.embeddings.LayerNorm]
    for layer in layers:
        norms += [layer.attention.output.LayerNorm, layer.output.LayerNorm]
    return norms


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
        kept = _best(scores, count)
        layer.intermediate.dense = _narrowed(layer.intermediate.dense, rows=kept)
        layer.output.dense = _narrowed(layer.output.dense, columns=kept)
    model.config.intermediate_size = count


def prune_heads(model: PreTrainedModel, importance: np.ndarray, share: float) -> PreTrainedModel:
    """Build a model with the same number of heads in every layer, the most important ones.

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
        columns = _columns(_best(scores, count), size)
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


def prune_width(model: PreTrainedModel, importance: Importance, share: float) -> PreTrainedModel:
    """Build a stock BERT with fewer hidden dimensions and, in the same measure, fewer heads of the size they had.

    BERT ties the three together, hidden = heads x size of a head, so the share is rounded to whole heads.

    Args:
        model: a stock BERT classifier; left as it is.
        importance: of its parts.
        share: of the hidden dimensions to keep.

    Raises:
        InputError: a share that keeps no head, or a model that lost heads before.
    """
    if isinstance(model.config, HeadPrunedBertConfig):
        raise InputError("a stock BERT to make narrower", "one with pruned heads", "Prune the width first.")
    layers: Any = model.bert.encoder.layer
    heads, size = model.config.num_attention_heads, layers[0].attention.self.attention_head_size
    count = kept_count(heads, share, "heads")
    kept = _best(importance.hidden, count * size)
    narrow = copy.deepcopy(model)
    for embedding in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        table = getattr(narrow.bert.embeddings, embedding)
        table.weight.data, table.embedding_dim = table.weight.data[:, kept].clone(), len(kept)
    for norm in _norms(narrow):
        norm.weight.data, norm.bias.data = norm.weight.data[kept].clone(), norm.bias.data[kept].clone()
        norm.normalized_shape = (len(kept),)
    for layer, scores in zip(narrow.bert.encoder.layer, importance.heads, strict=True):
        columns = _columns(_best(scores, count), size)
        attention = layer.attention.self
        for name in ("query", "key", "value"):
            setattr(attention, name, _narrowed(getattr(attention, name), rows=columns, columns=kept))
        attention.num_attention_heads, attention.all_head_size = count, count * size
        layer.attention.output.dense = _narrowed(layer.attention.output.dense, rows=kept, columns=columns)
        layer.intermediate.dense = _narrowed(layer.intermediate.dense, columns=kept)
        layer.output.dense = _narrowed(layer.output.dense, rows=kept)
    # The pooler mixes the stream anew: its dimensions are others, and chosen by themselves.
    pooled = _best(importance.pooled, count * size)
    narrow.bert.pooler.dense = _narrowed(narrow.bert.pooler.dense, rows=pooled, columns=kept)
    narrow.classifier = _narrowed(narrow.classifier, columns=pooled)
    narrow.config.hidden_size, narrow.config.num_attention_heads = len(kept), count
    return narrow.eval()


def _best(scores: np.ndarray, count: int) -> torch.Tensor:
    return torch.as_tensor(np.sort(np.argsort(-scores, kind="stable")[:count]))


def _columns(heads: torch.Tensor, size: int) -> torch.Tensor:
    """Return the columns of these heads where all stand side by side."""
    return (heads[:, None] * size + torch.arange(size)).flatten()


def _narrowed(linear: nn.Linear, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> nn.Linear:
    weight, bias = linear.weight.data, linear.bias.data
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    smaller = nn.Linear(weight.shape[1], weight.shape[0])
    smaller.weight.data, smaller.bias.data = weight.clone(), bias.clone()
    return smaller
