"""Passages become batches for student and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import torch
from transformers import PreTrainedTokenizerBase

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.padding import pad_rows
from sentiment_hf.data.tokenization import TextSettings, encode

TEACHER_PREFIX = "teacher_"
IGNORED = -100


def tokenize_passages(
    passages: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    teacher_tokenizer: PreTrainedTokenizerBase | None,
    max_length: int,
) -> datasets.Dataset:
    """Rows with the student's `input_ids` and `length` and, where the teacher cuts text in another way, its
    `teacher_input_ids`. The passages are clean already."""
    settings = TextSettings(cleaning=Cleaning.none(), max_length=max_length)

    def encode_batch(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        ids = encode(tokenizer, batch["text"], settings)["input_ids"]
        columns: dict[str, list[Any]] = {"input_ids": ids, "length": [len(row) for row in ids]}
        if teacher_tokenizer is not None:
            columns[f"{TEACHER_PREFIX}input_ids"] = encode(teacher_tokenizer, batch["text"], settings)["input_ids"]
        return columns

    rows = datasets.Dataset.from_dict({"text": list(passages)})
    return rows.map(encode_batch, batched=True, remove_columns=["text"], desc="Tokenizing")


@dataclass
class DistillationCollator:
    """Pads both sides and, with `mlm_probability` above 0, masks tokens of the student's.

    Where both read the same tokens the teacher reads the masked text too, so that hidden states stay comparable. Of the
    chosen tokens 80 % become the mask, 10 % another token and 10 % stay (Devlin et al. 2019, "BERT").

    >>> batch = DistillationCollator(tokenizer)([{"input_ids": [2, 5, 3]}, {"input_ids": [2, 5, 6, 7, 3]}])
    >>> batch["attention_mask"].sum(1)
    tensor([3, 5])
    """

    tokenizer: PreTrainedTokenizerBase
    teacher_tokenizer: PreTrainedTokenizerBase | None = None
    mlm_probability: float = 0.0
    pad_to_multiple_of: int = 8
    max_length: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self._pad([row["input_ids"] for row in rows], self.tokenizer)
        if self.mlm_probability > 0:
            batch["input_ids"], batch["labels"] = self._mask(batch["input_ids"], batch["attention_mask"])
        if self.teacher_tokenizer is not None:
            teacher = self._pad([row[f"{TEACHER_PREFIX}input_ids"] for row in rows], self.teacher_tokenizer)
            batch |= {TEACHER_PREFIX + name: tensor for name, tensor in teacher.items()}
        return batch

    def _pad(self, ids: list[list[int]], tokenizer: PreTrainedTokenizerBase) -> dict[str, torch.Tensor]:
        columns = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
        padded = pad_rows(columns, tokenizer, self.pad_to_multiple_of, self.max_length)
        return {name: torch.from_numpy(array) for name, array in padded.items()}

    def _mask(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        special = torch.isin(input_ids, torch.tensor(self.tokenizer.all_special_ids))
        chosen = (torch.rand(input_ids.shape) < self.mlm_probability) & attention_mask.bool() & ~special
        labels = input_ids.masked_fill(~chosen, IGNORED)
        fate = torch.rand(input_ids.shape)
        masked = input_ids.masked_fill(chosen & (fate < 0.8), self.tokenizer.mask_token_id)
        other = torch.randint(len(self.tokenizer), input_ids.shape)
        return torch.where(chosen & (fate >= 0.9), other, masked), labels
