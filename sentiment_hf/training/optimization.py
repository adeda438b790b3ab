"""Parameter groups with a learning rate for each layer, and adversarial steps on the embeddings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from sentiment_hf.exceptions import InputError

_LAYER = re.compile(r"\.layer\.(\d+)\.")


def layerwise_groups(
    model: PreTrainedModel, learning_rate: float, decay: float, weight_decay: float, decayed: Collection[str]
) -> list[dict[str, Any]]:
    """Parameter groups whose learning rate falls from the head to the embeddings.

    The head and the pooler learn at `learning_rate`, the layer below at `decay` times that, and so on down to the
    embeddings, which are one step below the first layer (Howard and Ruder 2018, "ULMFiT"; Clark et al. 2020,
    "ELECTRA").

    Args:
        model: a classifier whose encoder numbers its layers as BERT does (`….layer.3.…`).
        learning_rate: of the head.
        decay: factor from a layer to the one below it, above 0 and at most 1.
        weight_decay: of the parameters named in `decayed`; the others have none.
        decayed: names of parameters with weight decay.

    Returns:
        One group a depth and kind, from the embeddings up, each with `name`, `lr`, `weight_decay` and `params`.

    Raises:
        InputError: no layer is numbered like that.
    """
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    num_layers = 1 + max((int(match[1]) for name, _ in trainable if (match := _LAYER.search(name))), default=-1)
    if num_layers == 0:
        found = f"{model.config.model_type}, which names them otherwise"
        raise InputError("layers named as BERT's, for layerwise_lr_decay", found, "Leave it at 1.")
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in trainable:
        match = _LAYER.search(name)
        # 0: embeddings, 1 to num_layers: layers, num_layers + 1: pooler and head.
        depth = int(match[1]) + 1 if match else 0 if ".embeddings." in name else num_layers + 1
        kind = name in decayed
        title = "embeddings" if depth == 0 else f"layer {depth - 1}" if depth <= num_layers else "head"
        group = groups.setdefault(
            (depth, kind),
            {
                "name": title if kind else f"{title}, no weight decay",
                "lr": learning_rate * decay ** (num_layers + 1 - depth),
                "weight_decay": weight_decay if kind else 0.0,
                "params": [],
            },
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


@contextmanager
def adversarial_embeddings(embeddings: torch.nn.Embedding, epsilon: float, gradient: torch.Tensor) -> Iterator[None]:
    """Within it the embeddings stand `epsilon` away in the direction that raises the loss most; then where they were.

    The fast gradient method of Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text
    Classification", with one step for the whole matrix, as is usual for BERT.

    Args:
        embeddings: of the words.
        epsilon: length of the step (L2).
        gradient: of the loss, `[vocabulary, hidden]`; one that is nought or not finite moves nothing.
    """
    norm = gradient.norm()
    moves = bool(norm > 0) and bool(torch.isfinite(norm))
    before = embeddings.weight.detach().clone()
    try:
        if moves:
            with torch.no_grad():
                embeddings.weight.add_(gradient, alpha=float(epsilon / norm))
        yield
    finally:
        with torch.no_grad():
            embeddings.weight.copy_(before)
