"""Milliseconds a review, strings in and labels out, of several predictors side by side."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROUNDS = 5
MAX_TEXTS = 400
# Of articles fewer will do: they take as long as many reviews, six times over.
MAX_CHARACTERS = 100_000


def milliseconds_per_review(
    predictors: Mapping[str, Callable[[Sequence[str]], Any]], texts: Sequence[str], rounds: int = ROUNDS
) -> dict[str, float]:
    """Time predictors in turns on the same texts.

    Machines are noisy, and noise that lasts hits one predictor only if they run one after the other; so each round
    runs all of them, after a warm-up round that does not count, and the median round is reported.

    Args:
        predictors: name -> function that takes all texts at once.
        texts: real texts; the first `MAX_TEXTS` are used, or as many as have `MAX_CHARACTERS` together, at least one.
        rounds: rounds that count.

    Returns:
        name -> milliseconds a text.
    """
    ends = itertools.accumulate(len(text or "") for text in texts)
    texts = list(texts)[: max(1, min(MAX_TEXTS, sum(end <= MAX_CHARACTERS for end in ends)))]
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    for round_number in range(rounds + 1):
        for name, predict in predictors.items():
            start = time.perf_counter()
            predict(texts)
            if round_number > 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) * 1000 / len(texts) for name, times in seconds.items()}
