"""Rows of token ids become rectangular arrays; one function for training and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def pad_rows(
    rows: Mapping[str, Sequence[Sequence[int]]],
    tokenizer: PreTrainedTokenizerBase,
    multiple: int,
    limit: int | None = None,
) -> dict[str, np.ndarray]:
    """Pad on the right to the longest row, rounded up to a multiple.

    Done here rather than by `tokenizer.pad` because prediction from an ONNX file should not need torch, and because
    rounding up must not go past the model's positions.

    Args:
        rows: field -> one list of integers a row (`input_ids`, `attention_mask`, `token_type_ids`).
        tokenizer: knows the padding ids.
        multiple: batches whose width is a multiple of 8 run faster, and fewer widths occur.
        limit: never round up beyond this many tokens.

    Returns:
        field -> integers, `[rows, width]`.
    """
    longest = max(len(ids) for ids in rows["input_ids"])
    width = -(-longest // multiple) * multiple
    if limit is not None:
        width = max(longest, min(width, limit))
    fills = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    padded = {}
    for name, values in rows.items():
        array = np.full((len(values), width), fills.get(name, 0), dtype=np.int64)
        for place, ids in enumerate(values):
            array[place, : len(ids)] = ids
        padded[name] = array
    return padded
