"""Sliding windows over a document's tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHUNK_CHOICES = ("first", "spread", "head_tail")


def chunk_bounds(length: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Where the chunks over a document begin and end.

    As tokenizers define it, `stride` is the overlap: each chunk but the first begins `stride` tokens before the end of
    the one before it. Every token is in at least one chunk, and the last chunk ends with the document.

    Args:
        length: content tokens of the document.
        size: content tokens of a chunk, at least 1.
        stride: tokens that neighbours have in common, at least 0 and below `size`.

    Returns:
        `(start, end)` for each, in order; one empty chunk for an empty document.
    """
    bounds = [(0, min(size, length))]
    while bounds[-1][1] < length:
        start = bounds[-1][1] - stride
        bounds.append((start, min(start + size, length)))
    return bounds


def choose_chunks(count: int, limit: int | None, choice: str) -> Sequence[int]:
    """Which of a document's chunks are kept.

    Args:
        count: chunks of the document.
        limit: chunks kept at most; None for all.
        choice: `first`, `spread` (evenly over the document, both ends among them) or `head_tail` (half from the
            beginning, the larger one of an odd number, and the rest from the end).

    Returns:
        Places, rising.
    """
    if limit is None or count <= limit:
        return range(count)
    if choice == "first":
        return range(limit)
    if choice == "spread":
        return np.linspace(0, count - 1, limit).round().astype(int).tolist()
    head = limit - limit // 2
    return [*range(head), *range(count - (limit - head), count)]
