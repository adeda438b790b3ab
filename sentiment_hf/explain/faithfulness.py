"""Faithfulness of explanations: remove the tokens called important, and measure how the prediction changes.

DeYoung et al. 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP Models". Tokens are taken out of the text, not
masked, so that occlusion is not judged by its own doing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sentiment_hf.data.chunks import Chunk
from sentiment_hf.evaluation.significance import mean_interval
from sentiment_hf.explain.explanation import Target

# Shares of the tokens that are taken out, or kept alone; the figures are means over them.
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
RANDOM_ORDERS = 5
RANDOM = "random"
# Rows of the tokenizer's fields, of any length -> logits `[rows, width]`.
Judge = Callable[[dict[str, list[list[int]]]], np.ndarray]


def erased_rows(chunk: Chunk, order: np.ndarray) -> dict[str, list[list[int]]]:
    """For each share the chunk without its first tokens by `order`, then for each share these tokens alone.

    Args:
        chunk: what is read.
        order: positions of its content, the most important first.
    """
    every = np.arange(chunk.fields["input_ids"].shape[1])
    first = [order[: math.ceil(share * len(order))] for share in SHARES]
    kept = [np.setdiff1d(every, positions) for positions in first]
    kept += [np.setdiff1d(every, order[len(positions) :]) for positions in first]
    return {name: [values[0, positions].tolist() for positions in kept] for name, values in chunk.fields.items()}


def faithfulness(
    judge: Judge, chunk: Chunk, target: Target, scores: dict[str, np.ndarray], generator: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """How much several explanations of one chunk explain.

    Args:
        judge: the model.
        chunk: what was explained; with at least one token of content.
        target: the label.
        scores: method -> `[tokens]`.
        generator: of the random orders.

    Returns:
        For each method, and for the mean over `RANDOM_ORDERS` random orders under `RANDOM`: comprehensiveness (by how
        much the probability falls without the first tokens; more is better) and sufficiency (by how much it falls
        with these tokens alone; less is better), both means over `SHARES`.
    """
    content = chunk.content
    orders = [content[np.argsort(-values[content], kind="stable")] for values in scores.values()]
    orders += [generator.permutation(content) for _ in range(RANDOM_ORDERS)]
    rows: dict[str, list[list[int]]] = {name: values.tolist() for name, values in chunk.fields.items()}
    for order in orders:
        for name, more in erased_rows(chunk, order).items():
            rows[name] += more
    probabilities = target.probability(judge(rows))
    falls = (probabilities[0] - probabilities[1:]).reshape(len(orders), 2, len(SHARES)).mean(axis=2)
    found = {name: (float(falls[place, 0]), float(falls[place, 1])) for place, name in enumerate(scores)}
    by_chance = falls[len(scores) :].mean(axis=0)
    return found | {RANDOM: (float(by_chance[0]), float(by_chance[1]))}


def summarize(rows: Sequence[dict[str, tuple[float, float]]], seed: int = 42) -> dict[str, dict[str, Any]]:
    """Means over texts, and how much better than a random order each method is.

    Args:
        rows: from `faithfulness`, one a text.
        seed: of the bootstrap.

    Returns:
        For each method `comprehensiveness` and `sufficiency`, and for all but `RANDOM` `comprehensiveness_gain`
        (method - random) and `sufficiency_gain` (random - method), each as `mean`, `low` and `high`: the 95 % interval
        of a bootstrap over texts. A gain whose interval is above 0 is better than chance.
    """
    summary: dict[str, dict[str, Any]] = {}
    chance = np.array([row[RANDOM] for row in rows])
    for method in rows[0]:
        values = np.array([row[method] for row in rows])
        parts = {"comprehensiveness": values[:, 0], "sufficiency": values[:, 1]}
        if method != RANDOM:
            parts["comprehensiveness_gain"] = values[:, 0] - chance[:, 0]
            parts["sufficiency_gain"] = chance[:, 1] - values[:, 1]
        summary[method] = {name: _interval(part, seed) for name, part in parts.items()}
    return summary


def _interval(values: np.ndarray, seed: int) -> dict[str, float]:
    low, high = mean_interval(values, seed)
    return {"mean": float(values.mean()), "low": low, "high": high}
