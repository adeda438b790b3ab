"""Whether probabilities mean what they say: temperature scaling, calibration error, and when to say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from sentiment_hf.evaluation.prediction import softmax
from sentiment_hf.exceptions import InputError

BINS = 15
# Between a twentieth and twenty times: further away there is nothing left to scale.
_LOG_RANGE = (-3.0, 3.0)


@dataclass(frozen=True)
class Calibration:
    """How a model's logits become probabilities, and which of them it stands by.

    Attributes:
        temperature: logits are divided by it; 1 leaves them as they are.
        threshold: an answer less probable than this is not given; None gives all.
    """

    temperature: float = 1.0
    threshold: float | None = None


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels: `[rows, classes]` and `[rows]`."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature under which the labels are likeliest.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". It changes no answer, only how sure it is.

    Args:
        logits: `[rows, classes]`, of rows that the model was not trained on.
        labels: `[rows]`.
    """
    logits = logits.astype(np.float64)
    found = minimize_scalar(lambda log_t: log_loss(logits / np.exp(log_t), labels), bounds=_LOG_RANGE, method="bounded")
    return float(np.exp(found.x))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> list[dict[str, Any]]:
    """Rows by how sure the answer is, in bins of equal width; empty ones are left out.

    Returns:
        For each bin `low` and `high` (its bounds), `rows`, `confidence` (mean) and `accuracy`.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    table = []
    for place in range(bins):
        inside = places == place
        if inside.any():
            figures = {"confidence": float(confidence[inside].mean()), "accuracy": float(right[inside].mean())}
            table.append({"low": place / bins, "high": (place + 1) / bins, "rows": int(inside.sum()), **figures})
    return table


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """How far confidence is from accuracy, averaged over the bins of `reliability` by their rows."""
    table = reliability(probabilities, labels, bins)
    return sum(row["rows"] * abs(row["confidence"] - row["accuracy"]) for row in table) / len(labels)


def threshold_for(probabilities: np.ndarray, labels: np.ndarray, precision: float) -> tuple[float, float]:
    """The lowest threshold at which the answers given are right often enough.

    Args:
        probabilities: `[rows, classes]`.
        labels: `[rows]`.
        precision: share of given answers that have to be right.

    Returns:
        The threshold, and the share of rows that are still answered.

    Raises:
        InputError: no threshold reaches that precision.
    """
    if not 0 < precision <= 1:
        raise InputError("a precision above 0 and at most 1", str(precision), "0.95 is usual.")
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    answered = np.arange(1, len(labels) + 1)
    precise = right.cumsum() / answered
    # A threshold falls between two different confidences: rows that are equally sure stand or fall together.
    ends = np.append(confidence[order][:-1] > confidence[order][1:], True)
    reached = np.flatnonzero(ends & (precise >= precision))
    if len(reached) == 0:
        best = f"{precise[ends].max():.4f} at best"
        raise InputError(f"a threshold with a precision of {precision}", best, "Ask for less, or train a better model.")
    last = reached[-1]
    return float(confidence[order][last]), float(answered[last] / len(labels))


def calibration_report(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, Any]:
    """Calibration error and log loss before and after a temperature, and the bins of both."""
    report: dict[str, Any] = {"rows": len(labels)}
    for name, scaled in (("before", logits), ("after", logits / temperature)):
        probabilities = softmax(scaled.astype(np.float64))
        report[name] = {
            "expected_calibration_error": expected_calibration_error(probabilities, labels),
            "log_loss": log_loss(scaled.astype(np.float64), labels),
            "bins": reliability(probabilities, labels),
        }
    return report
