"""Milliseconds a review, strings in and labels out, of several predictors side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROUNDS = 5
MAX_TEXTS = 400


def milliseconds_per_review(
    predictors: Mapping[str, Callable[[Sequence[str]], Any]], texts: Sequence[str], rounds: int = ROUNDS
) -> dict[str, float]:
    """Time predictors in turns on the same texts.

    Machines are noisy, and noise that lasts hits one predictor only if they run one after the other; so each round
    runs all of them, after a warm-up round that does not count, and the median round is reported.

    Args:
        predictors: name -> function that takes all texts at once.
        texts: real texts; the first `MAX_TEXTS` are used.
        rounds: rounds that count.

    Returns:
        name -> milliseconds a text.
    """
    texts = list(texts)[:MAX_TEXTS]
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    for round_number in range(rounds + 1):
        for name, predict in predictors.items():
            start = time.perf_counter()
            predict(texts)
            if round_number > 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) * 1000 / len(texts) for name, times in seconds.items()}
