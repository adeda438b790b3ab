"""The logits of a document's chunks become those of the document, in torch and in numpy alike.

`mean` asks what the article says as a whole, `max` lets the chunk decide that speaks up most for a class, and
`logsumexp` lies between them: every chunk counts, the loudest most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    # Whoever runs ONNX files alone needs no torch.
    import torch


def aggregate(logits: torch.Tensor, documents: torch.Tensor, count: int, method: str) -> torch.Tensor:
    """Chunk logits -> document logits.

    Args:
        logits: `[chunks, width]`.
        documents: `[chunks]`, which document each chunk is of, from 0; every document has a chunk. Chunks may come in
            any order.
        count: documents.
        method: `mean`, `max` or `logsumexp`.

    Returns:
        `[count, width]`.
    """
    index = documents.unsqueeze(-1).expand_as(logits)
    empty = logits.new_zeros(count, logits.shape[-1])
    if method == "mean":
        return empty.scatter_reduce(0, index, logits, reduce="mean", include_self=False)
    largest = empty.scatter_reduce(0, index, logits, reduce="amax", include_self=False)
    if method == "max":
        return largest
    # Shifted by the largest one, which cancels out, so that nothing overflows.
    shift = largest.detach()
    total = empty.scatter_add(0, index, (logits - shift.gather(0, index)).exp())
    return total.log() + shift


def aggregate_arrays(logits: np.ndarray, documents: np.ndarray, count: int, method: str) -> np.ndarray:
    """`aggregate` without torch, for models that run as ONNX files."""
    if method == "mean":
        total = np.zeros((count, logits.shape[-1]), dtype=np.float64)
        np.add.at(total, documents, logits)
        return (total / np.bincount(documents, minlength=count)[:, None]).astype(logits.dtype)
    largest = np.full((count, logits.shape[-1]), -np.inf, dtype=logits.dtype)
    np.maximum.at(largest, documents, logits)
    if method == "max":
        return largest
    total = np.zeros((count, logits.shape[-1]), dtype=np.float64)
    np.add.at(total, documents, np.exp(logits - largest[documents]))
    return (np.log(total) + largest).astype(logits.dtype)
