"""What changes when a part of the text is hidden; needs nothing of a model but its logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sentiment_hf.data.offsets import Chunk
from sentiment_hf.evaluation.explanation import Attribution, Target

BATCH_SIZE = 16
# `{input_ids, attention_mask, …}`, each `[batch, tokens]` -> logits `[batch, width]`.
Forward = Callable[[dict[str, np.ndarray]], np.ndarray]


def occlusion(forward: Forward, chunk: Chunk, target: Target, mask_id: int) -> Attribution:
    """How much the label's log-odds fall when a token is masked, for each token.

    After Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", on tokens.

    Args:
        forward: the model on any backend.
        chunk: of n tokens; the model reads it n + 1 times.
        target: the label.
        mask_id: what a hidden token is replaced by.
    """
    content = chunk.content
    # Every token needs a read of its own, so a chunk without content is read once.
    rows = {name: np.repeat(values, len(content) + 1, axis=0) for name, values in chunk.fields.items()}
    rows["input_ids"][np.arange(len(content)) + 1, content] = mask_id
    odds = target.log_odds(in_batches(forward, rows))
    scores = np.zeros(chunk.fields["input_ids"].shape[1])
    scores[content] = odds[0] - odds[1:]
    return Attribution(scores)


def in_batches(forward: Forward, rows: dict[str, np.ndarray]) -> np.ndarray:
    """Logits of rows of one length, `[rows, width]`, a few at a time."""
    count = len(rows["input_ids"])
    parts = [
        forward({name: values[start : start + BATCH_SIZE] for name, values in rows.items()})
        for start in range(0, count, BATCH_SIZE)
    ]
    return np.concatenate(parts)
