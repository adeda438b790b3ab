"""Temperature scaling, calibration error and the abstention threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from sentiment_hf.exceptions import InputError
from sentiment_hf.tasks import softmax

BINS = 15
# Between a twentieth and twenty times: further away there is nothing left to scale.
_LOG_RANGE = (-3.0, 3.0)
FOLDS = 5
# Fewer, and a fold judges by less than ten rows: what one of them does to the figures is more than any temperature.
MIN_ROWS = 50
# How sure a threshold's precision has to be.
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Calibration:
    """How a model's logits become probabilities, and which of them it stands by.

    Attributes:
        temperature: logits are divided by it; 1 leaves them as they are.
        threshold: a label less probable than this is not given; None gives all.
    """

    temperature: float = 1.0
    threshold: float | None = None


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels: `[rows, classes]` and `[rows]`."""
    return float(row_losses(logits, labels).mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature under which the labels are likeliest.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". It changes no label, only its probability.

    Args:
        logits: `[rows, classes]`, of rows that the model was not trained on.
        labels: `[rows]`.
    """
    logits = logits.astype(np.float64)
    found = minimize_scalar(lambda log_t: log_loss(logits / np.exp(log_t), labels), bounds=_LOG_RANGE, method="bounded")
    return float(np.exp(found.x))


@dataclass(frozen=True)
class HeldOut:
    """Whether a new temperature is better than the old one on rows that it was not fitted on.

    Attributes:
        rows: their number.
        mistakes: rows of them that the model gets wrong.
        temperatures: fitted without each of the folds; the old one where there is no mistake to fit to.
        log_loss: of the rows of all folds, under the old temperature and under the one fitted without their fold.
        error: their calibration error, likewise.
        deviation: standard error of the difference between the two log losses.
    """

    rows: int
    mistakes: int
    temperatures: tuple[float, ...]
    log_loss: tuple[float, float]
    error: tuple[float, float]
    deviation: float

    @property
    def refusal(self) -> str | None:
        """Why the old temperature stays, or None."""
        if self.mistakes == 0:
            right = f"the model gets all {self.rows:,} rows right, and only mistakes tell how sure to be"
            return f"{right}; give it rows that it was not trained on, more or harder ones"
        gain = self.log_loss[0] - self.log_loss[1]
        folds = f"on rows held out in {len(self.temperatures)} folds"
        if gain <= 0:
            return f"log loss {self.log_loss[0]:.4f} -> {self.log_loss[1]:.4f} {folds}, no better than before"
        if gain < self.deviation:
            found = f"log loss falls by {gain:.4f} {folds}, with a standard error of {self.deviation:.4f}"
            return f"{self.rows:,} rows are too few to tell a new temperature from the old one: {found}"
        if self.error[1] >= self.error[0]:
            return f"calibration error {self.error[0]:.4f} -> {self.error[1]:.4f} {folds}, no better than before"
        return None

    def to_dict(self) -> dict[str, Any]:
        pairs = {"log_loss": self.log_loss, "expected_calibration_error": self.error}
        figures = {name: dict(zip(("before", "after"), pair, strict=True)) for name, pair in pairs.items()}
        return {"folds": len(self.temperatures), "temperatures": list(self.temperatures), **figures}


def held_out_check(logits: np.ndarray, labels: np.ndarray, old: float = 1.0, seed: int = 0) -> HeldOut:
    """Fit a temperature without each fold of the rows in turn and judge it by that fold.

    Args:
        logits: `[rows, classes]`, of rows that the model was not trained on.
        labels: `[rows]`.
        old: the temperature that is in use.
        seed: of the folds.

    Raises:
        InputError: too few rows for that.
    """
    if len(labels) < MIN_ROWS:
        why = f"each of {FOLDS} folds would be judged by {len(labels) // FOLDS}"
        remedy = "Label more rows that the model was not trained on, and give them with --data."
        raise InputError(f"at least {MIN_ROWS} rows to calibrate on", f"{len(labels)}: {why}", remedy)
    mistakes = int((logits.argmax(axis=1) != labels).sum())
    logits = logits.astype(np.float64)
    fold = np.random.default_rng(seed).permutation(len(labels)) % FOLDS
    kept = [fold != place for place in range(FOLDS)]
    temperatures = [fit_temperature(logits[rows], labels[rows]) if mistakes else old for rows in kept]
    scaled = logits / old, logits / np.array(temperatures)[fold][:, None]
    losses = [row_losses(each, labels) for each in scaled]
    errors = [expected_calibration_error(softmax(each), labels) for each in scaled]
    deviation = float((losses[0] - losses[1]).std(ddof=1) / len(labels) ** 0.5)
    pair = float(losses[0].mean()), float(losses[1].mean())
    return HeldOut(len(labels), mistakes, tuple(temperatures), pair, (errors[0], errors[1]), deviation)


def row_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each row's label, `[rows]`."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels]


def too_few_for(precision: float, kept: int) -> str | None:
    """Why a threshold's precision is not known on so many rows above it, or None.

    Even where all of them are right, a share below `precision` would have done that in one case of twenty.
    """
    wanted = np.inf if precision == 1 else int(np.ceil(np.log(1 - _CONFIDENCE) / np.log(precision)))
    if kept >= wanted:
        return None
    least = "no number of rows shows it" if np.isinf(wanted) else f"at least {wanted:,} are needed"
    return f"{kept:,} rows above the threshold are too few to show a precision of {precision:g}: {least}"


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> list[dict[str, Any]]:
    """Rows by the probability of the prediction, in bins of equal width; empty ones are left out.

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
    """Find the lowest threshold at which the labels given are right often enough.

    Args:
        probabilities: `[rows, classes]`.
        labels: `[rows]`.
        precision: share of the given labels that have to be right.

    Returns:
        The threshold, and its coverage: the share of rows that still get a label.

    Raises:
        InputError: no threshold reaches that precision.
    """
    if not 0 < precision <= 1:
        raise InputError("a precision above 0 and at most 1", str(precision), "0.95 is usual.")
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    kept = np.arange(1, len(labels) + 1)
    precise = right.cumsum() / kept
    # A threshold falls between two different confidences: rows that are equally sure stand or fall together.
    ends = np.append(confidence[order][:-1] > confidence[order][1:], True)
    reached = np.flatnonzero(ends & (precise >= precision))
    if len(reached) == 0:
        best = f"{precise[ends].max():.4f} at best"
        raise InputError(f"a threshold with a precision of {precision}", best, "Ask for less, or train a better model.")
    last = reached[-1]
    return float(confidence[order][last]), float(kept[last] / len(labels))


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
