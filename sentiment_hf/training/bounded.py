"""A forward whose memory does not grow with the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from sentiment_hf.modeling.forward import packed


def bound_forward(model: PreTrainedModel, max_rows: int) -> None:
    """Let a model's forward take a batch of any size, in groups of at most `max_rows` rows.

    In training a group keeps its inputs alone and is computed again when its gradient is due, with the same dropout,
    so that the gradient is that of the whole batch (gradient checkpointing, Chen et al. 2016, over rows in place of
    layers). Memory is that of one group and of the logits. A batch that fits is left as it is.

    The model's own `forward` is replaced rather than wrapped in a module, so that whatever wraps the model for several
    processes still sees one forward and one backward a batch.

    Args:
        model: changed in place; its forward then returns an object with `logits` alone where it had to split.
        max_rows: at least 1.
    """
    whole = model.forward

    def forward(*args: Any, **features: Any) -> Any:
        rows = features.get("input_ids")
        if rows is None or len(rows) <= max_rows:
            return whole(*args, **features)
        groups = [
            {name: value[start : start + max_rows] for name, value in features.items() if value is not None}
            for start in range(0, len(rows), max_rows)
        ]
        if not torch.is_grad_enabled():
            return SequenceClassifierOutput(logits=torch.cat([packed(whole(*args, **group)) for group in groups]))

        def one(group: dict[str, torch.Tensor]) -> torch.Tensor:
            return packed(whole(*args, **group))

        return SequenceClassifierOutput(
            logits=torch.cat([checkpoint(one, group, use_reentrant=False) for group in groups])
        )

    model.forward = forward
