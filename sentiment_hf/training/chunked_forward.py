"""A forward whose memory does not grow with the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from sentiment_hf.modeling.forward import concat_heads
from sentiment_hf.modeling.modeling_hierarchical import ChunkOutput, HierarchicalBertForSequenceClassification


def chunk_forward(model: PreTrainedModel, max_rows: int) -> None:
    """Let a model's forward take a batch of any size, in groups of at most `max_rows` rows.

    In training a group keeps its inputs alone and is computed again when its gradient is due, with the same dropout,
    so that the gradient is that of the whole batch (gradient checkpointing, Chen et al. 2016, over rows in place of
    layers). Memory is that of one group and of the logits. A batch that fits is left as it is.

    The model's own `forward` is replaced, as accelerate does for mixed precision, so that whatever wraps the model for
    several processes still sees one forward and one backward a batch. Calling the wrapped model once a group instead
    does not hold: `DistributedDataParallel` broadcasts buffers at every call, so that processes with unequal numbers
    of groups wait for each other forever, and FSDP refuses `no_sync` while a group is computed again. Under FSDP the
    numbers of groups have to be equal either way, since each group gathers the weights.

    Args:
        model: changed in place; its forward then returns an object with `logits` alone where it had to split.
        max_rows: at least 1.
    """
    # A hierarchical model reads over all chunks of a document at once; what is bounded is the encoder below.
    name = "embed_chunks" if isinstance(model, HierarchicalBertForSequenceClassification) else "forward"
    whole = getattr(model, name)

    def forward_rows(args: tuple[Any, ...], features: dict[str, Any]) -> torch.Tensor:
        outputs = whole(*args, **features)
        return concat_heads(outputs) if name == "forward" else outputs.embedding

    def forward(*args: torch.Tensor | None, **features: torch.Tensor | None) -> Any:
        given = next(value for value in (*args, *features.values()) if value is not None)
        if len(given) <= max_rows:
            return whole(*args, **features)
        parts = []
        for start in range(0, len(given), max_rows):
            rows = slice(start, start + max_rows)
            places = tuple(value if value is None else value[rows] for value in args)
            names = {key: value[rows] for key, value in features.items() if value is not None}
            if torch.is_grad_enabled():
                parts.append(checkpoint(forward_rows, places, names, use_reentrant=False))
            else:
                parts.append(forward_rows(places, names))
        if name == "embed_chunks":
            return ChunkOutput(embedding=torch.cat(parts))
        return SequenceClassifierOutput(logits=torch.cat(parts))

    setattr(model, name, forward)
