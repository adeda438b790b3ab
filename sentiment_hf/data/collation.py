"""The data collator: pads batches to a multiple and keeps `doc_id` and `labels`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase


@dataclass
class ClassificationCollator:
    """Pads to the longest row of the batch, rounded up to a multiple but not beyond `max_length`.

    >>> collator = ClassificationCollator(tokenizer, pad_to_multiple_of=8)
    >>> batch = collator([
    ...     {"doc_id": 7, "labels": 1, "length": 3, "input_ids": [2, 5, 3], "attention_mask": [1, 1, 1]},
    ...     {"doc_id": 9, "labels": 0, "length": 4, "input_ids": [2, 5, 6, 3], "attention_mask": [1, 1, 1, 1]},
    ... ])
    >>> batch["input_ids"]
    tensor([[2, 5, 3, 0, 0, 0, 0, 0],
            [2, 5, 6, 3, 0, 0, 0, 0]])
    >>> batch["doc_id"], batch["labels"]
    (tensor([7, 9]), tensor([1, 0]))
    """

    tokenizer: PreTrainedTokenizerBase
    pad_to_multiple_of: int = 8
    max_length: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        names = [name for name in self.tokenizer.model_input_names if name in rows[0]]
        features = {name: [row[name] for row in rows] for name in names}
        padded = pad_rows(features, self.tokenizer, self.pad_to_multiple_of, self.max_length)
        batch = {name: torch.from_numpy(array) for name, array in padded.items()}
        return batch | _ids(rows) | _row_extras(rows)


@dataclass
class DocumentCollator:
    """Lays the chunks of several documents side by side, each still knowing whose it is.

    A batch has `labels` and `doc_id` with one entry a document, and with one entry a chunk `chunk_document` (which of
    the batch's documents it is of, from 0), `chunk_idx` and the tokenizer's fields, padded as `ClassificationCollator`
    pads rows.
    """

    tokenizer: PreTrainedTokenizerBase
    pad_to_multiple_of: int = 8
    max_length: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        names = [name for name in self.tokenizer.model_input_names if name in rows[0]]
        fields = {name: [chunk for row in rows for chunk in row[name]] for name in names}
        padded = pad_rows(fields, self.tokenizer, self.pad_to_multiple_of, self.max_length)
        documents = [place for place, row in enumerate(rows) for _ in row["chunk_idx"]]
        pieces = {"chunk_document": documents, "chunk_idx": [index for row in rows for index in row["chunk_idx"]]}
        # Documents first: transformers takes the first tensor's length for the size of the batch.
        batch = _ids(rows) | {name: torch.tensor(values, dtype=torch.long) for name, values in pieces.items()}
        return batch | {name: torch.from_numpy(array) for name, array in padded.items()} | _row_extras(rows)


def _ids(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """`labels` (under whichever of transformers' two names they come) and `doc_id`, `[rows]`, where rows have them."""
    found = {"labels": next((name for name in ("labels", "label") if name in rows[0]), None), "doc_id": "doc_id"}
    return {
        name: torch.tensor([row[column] for row in rows], dtype=torch.long)
        for name, column in found.items()
        if column in rows[0]
    }


def _row_extras(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stack a teacher's logits `[rows, classes]` and states `[rows, layers * hidden]`, and weights `[rows]`, where the
    rows have some."""
    names = [name for name in ("teacher_logits", "teacher_states", "weight") if name in rows[0]]
    return {name: torch.tensor([row[name] for row in rows], dtype=torch.float32) for name in names}


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
