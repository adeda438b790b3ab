"""The data collator: pads batches to a multiple and keeps `doc_id` and `labels`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from sentiment_hf.data.padding import pad_rows


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
