"""Two classifiers on the same rows: whether one is better, and where their predictions differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.evaluation.significance import bootstrap_macro_f1, interval, mcnemar, two_sided_p
from sentiment_hf.tasks import softmax

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
