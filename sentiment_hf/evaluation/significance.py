"""Significance tests and confidence intervals, also for two classifiers on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from sentiment_hf.tasks import softmax

RESAMPLES = 10_000
LEVEL = 0.95
# Rows of a table of resamples that are worked on at once.
_AT_ONCE = 1000


def mean_interval(values: np.ndarray, seed: int = 42, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Compute the 95 % percentile bootstrap interval of a mean: `[rows]` -> lower and upper end."""
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    return interval(np.array(means))


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """Return the ends of the middle 95 % of resampled figures."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class McNemar:
    """Two classifiers on the same rows.

    Attributes:
        only_a: rows that the first alone has right.
        only_b: rows that the second alone has right.
        p_value: of the exact two-sided test that both are equally likely.
    """

    only_a: int
    only_b: int
    p_value: float


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> McNemar:
    """McNemar's exact test (McNemar 1947): do rows that one alone has right fall to both alike?

    Args:
        right_a: `[rows]`, whether the first is right.
        right_b: `[rows]`, whether the second is.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p_value)


def bootstrap_macro_f1(
    truth: np.ndarray, predictions: np.ndarray, classes: int, seed: int = 42, resamples: int = RESAMPLES
) -> np.ndarray:
    """Macro-F1 of several classifiers on rows drawn with replacement, the same rows for all of them.

    Args:
        truth: `[rows]`, ids.
        predictions: `[classifiers, rows]`, ids.
        classes: how many there are.
        seed: of the draw.
        resamples: how many draws.

    Returns:
        `[resamples, classifiers]`; as in `metrics.json`, a class that a draw has neither as truth nor as prediction
        is left out of the mean.
    """
    generator = np.random.default_rng(seed)
    # Rows that agree in everything are one kind; how often each kind is drawn says all that a draw says.
    kinds, counts = np.unique(np.column_stack([truth, predictions.T]), axis=0, return_counts=True)
    # `[kinds, columns, classes]`: which class each column, the truth first, gives each kind of rows.
    given = kinds[:, :, None] == np.arange(classes)
    both = given[:, :1] & given[:, 1:]
    # One product counts everything; below 2**24 single precision counts exactly.
    counted = np.concatenate([both, given], axis=1).reshape(len(kinds), -1).astype(np.float32)
    scores = []
    for start in range(0, resamples, _AT_ONCE):
        drawn = generator.multinomial(len(truth), counts / len(truth), size=min(_AT_ONCE, resamples - start))
        found = (drawn.astype(np.float32) @ counted).reshape(len(drawn), -1, classes)
        hits, true, said = np.split(found, [len(predictions), len(predictions) + 1], axis=1)
        either = true + said
        scores.append((2 * hits / np.maximum(either, 1)).sum(axis=2) / (either > 0).sum(axis=2))
    return np.concatenate(scores)


def two_sided_p(differences: np.ndarray) -> float:
    """How often resampled differences lie on the other side of 0, twice; never 0, since draws are finite."""
    beyond = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(differences) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979), in the order in which they came."""
    order, adjusted = np.argsort(p_values), np.empty(len(p_values))
    raised = np.take(p_values, order) * np.arange(len(p_values), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return adjusted.tolist()


# What became of a row whose prediction changed, by whether the second or the first is right.
MENDED, BROKEN, OTHER = "mended", "broken", "both wrong"


def compare(truth: np.ndarray, first: np.ndarray, second: np.ndarray, classes: int, seed: int = 42) -> dict[str, Any]:
    """Paired tests of two classifiers.

    Args:
        truth: `[rows]`, ids.
        first: `[rows]`, predictions of the first.
        second: `[rows]`, those of the second.
        classes: how many there are.
        seed: of the bootstrap.

    Returns:
        `accuracy`: of `a` and `b`, their `difference` (b - a), the rows that each has right alone, and the p-value of
        McNemar's exact test. `macro_f1`: of `a` and `b`, their `difference`, its 95 % interval (`low`, `high`) and a
        p-value, both of a bootstrap over rows.
    """
    right = first == truth, second == truth
    test = mcnemar(*right)
    accuracy = {"a": float(right[0].mean()), "b": float(right[1].mean())}
    accuracy |= {"difference": accuracy["b"] - accuracy["a"], "p_value": test.p_value}
    predictions = np.array([first, second])
    resampled = bootstrap_macro_f1(truth, predictions, classes, seed)
    differences = resampled[:, 1] - resampled[:, 0]
    low, high = interval(differences)
    a, b = (float(score) for score in macro_f1(truth, predictions, classes))
    figures = {"a": a, "b": b, "difference": b - a, "low": low, "high": high, "p_value": two_sided_p(differences)}
    return {"accuracy": accuracy | {"only_a_right": test.only_a, "only_b_right": test.only_b}, "macro_f1": figures}


def macro_f1(truth: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Macro-F1 of several classifiers, `[classifiers, rows]` -> `[classifiers]`."""
    from sklearn.metrics import f1_score

    labels = [np.intersect1d(np.arange(classes), np.concatenate([truth, row])) for row in predictions]
    return np.array(
        [
            f1_score(truth, row, labels=occurring, average="macro", zero_division=0)
            for row, occurring in zip(predictions, labels, strict=True)
        ]
    )


def changed_rows(rows: pd.DataFrame, first: np.ndarray, second: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """Rows on which two classifiers differ, those first where the second is the surest of its prediction.

    Args:
        rows: with `text` and `label` as ids.
        first: `[rows, classes]`, logits of the first.
        second: `[rows, classes]`, those of the second.
        labels: names in the order of the ids.

    Returns:
        `text`, `truth`, `prediction_a`, `probability_a`, `prediction_b`, `probability_b`, and `change`: `mended` where
        the second alone is right, `broken` where the first alone is, else `both wrong`.
    """
    truth = rows["label"].to_numpy(dtype=int)
    found = pd.DataFrame({"text": rows["text"].to_numpy(), "truth": [labels[index] for index in truth]})
    for name, logits in (("a", first), ("b", second)):
        found[f"prediction_{name}"] = [labels[index] for index in logits.argmax(axis=1)]
        found[f"probability_{name}"] = softmax(logits).max(axis=1)
    mended, broken = found["prediction_b"] == found["truth"], found["prediction_a"] == found["truth"]
    found["change"] = np.select([mended, broken], [MENDED, BROKEN], OTHER)
    return found[found["prediction_a"] != found["prediction_b"]].sort_values(
        "probability_b", ascending=False, kind="stable"
    )
