"""Texts in, logits out, for any backend: sorted by length, in small padded buckets, in the caller's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sentiment_hf.data.padding import pad_rows
from sentiment_hf.data.tokenization import TextSettings, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# `{input_ids, attention_mask, …}`, each `[batch, tokens]` -> logits `[batch, classes]`.
Forward = Callable[[dict[str, np.ndarray]], np.ndarray]


@dataclass
class TextScorer:
    """Everything between texts and logits but the forward itself.

    Attributes:
        tokenizer: the model's.
        settings: cleaning and truncation as in training.
        forward: one padded batch through the model.
        batch_size: rows of a batch at most.
        pad_to_multiple_of: batches are padded to the longest row, rounded up to this.
    """

    tokenizer: PreTrainedTokenizerBase
    settings: TextSettings
    forward: Forward
    batch_size: int = 32
    pad_to_multiple_of: int = 8

    def with_forward(self, forward: Forward) -> TextScorer:
        """The same scorer around another forward, for comparing backends."""
        return replace(self, forward=forward)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Logits of the texts, `[texts, classes]`, in their order."""
        encoded = encode(self.tokenizer, texts, self.settings)
        lengths = np.array([len(ids) for ids in encoded["input_ids"]])
        order = np.argsort(-lengths, kind="stable")
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        rows = np.concatenate([self.forward(self._pad(encoded, batch)) for batch in batches])
        logits = np.empty_like(rows)
        logits[order] = rows
        return logits

    def _pad(self, encoded: dict[str, list[list[int]]], batch: np.ndarray) -> dict[str, np.ndarray]:
        rows = {name: [values[row] for row in batch] for name, values in encoded.items()}
        return pad_rows(rows, self.tokenizer, self.pad_to_multiple_of, self.settings.max_length)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
