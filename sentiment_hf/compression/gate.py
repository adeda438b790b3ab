"""The INT8 gate: compare the metric on validation and, if that split is too small, the labels of INT8 and FP32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta, binom

from sentiment_hf.compression.onnx import onnx_scorer_like
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.tasks import Task, softmax
from sentiment_hf.tasks.labels import MISSING

# The metric alone decides where the points that INT8 may lose are worth so many validation rows.
ROWS_TO_TELL = 4
# A few hundred texts cannot show that a loss is as small as max_drop, only that it is below so many times that.
TIMES_AT_MOST = 5
# Beyond chance at this level, and intervals at the other end of it.
ALPHA = 0.05
MAX_TEXTS = 2000


@dataclass(frozen=True)
class Agreement:
    """How many labels INT8 leaves as FP32 gives them, on texts whose own labels are not asked for.

    A label that changes costs what FP32 gave it more than the new one: next to nothing where FP32 hardly knew.

    Attributes:
        texts: how many were read, those of the validation split among them.
        changed: of how many INT8 changes the label; of a text with aspects the share of its cells counts.
        cost: of all that changed, in texts.
        max_drop: the points that INT8 may lose.
        outlier: the group of texts whose labels change at more cost than chance explains, or None.
    """

    texts: int
    changed: float
    cost: float
    max_drop: float
    outlier: str | None = None

    @property
    def loss(self) -> float:
        """The points of accuracy that INT8 loses if FP32's probabilities are right."""
        return 100 * self.cost / self.texts

    @property
    def at_most(self) -> float:
        """The upper end of that loss's one-sided 95 % interval (Clopper-Pearson, which is wide for parts of a text)."""
        return (
            100 * float(beta.ppf(1 - ALPHA, self.cost + 1, self.texts - self.cost)) if self.cost < self.texts else 100.0
        )

    @property
    def passed(self) -> bool:
        if self.outlier is not None:
            return False
        # Fewer than about a hundred texts cannot show more than that no label changes.
        return not self.changed or (self.loss <= self.max_drop and self.at_most <= TIMES_AT_MOST * self.max_drop)

    def __str__(self) -> str:
        said = (
            f"labels agree on {self.texts - self.changed:,.6g} of {self.texts:,} texts, an expected loss of "
            f"{self.loss:.2f} points (at most {self.at_most:.2f}) where {self.max_drop:g} "
            f"(at most {TIMES_AT_MOST * self.max_drop:g}) are allowed"
        )
        return said if self.outlier is None else f"{said}; too many of {self.outlier} change"


@dataclass(frozen=True)
class GateResult:
    """What the gate saw on validation, in points (percent) of the task's metric.

    Attributes:
        metric: its name.
        fp32: FP32's score.
        int8: INT8's score.
        max_drop: what INT8 was allowed to lose.
        rows: of the validation split.
        resolution: what one row of the validation split can move the metric.
        worse: whether INT8 has more rows wrong than chance explains (the sign test, one-sided).
        agreement: of labels, where the validation split is too small to tell and there are texts; it decides then.
    """

    metric: str
    fp32: float
    int8: float
    max_drop: float
    rows: int = 0
    resolution: float = 0.0
    worse: bool = False
    agreement: Agreement | None = None

    @property
    def too_few(self) -> bool:
        """Whether the validation split has too few rows for the metric to tell."""
        return too_few(self.resolution, self.max_drop)

    @property
    def passed(self) -> bool:
        if self.agreement is not None:
            return self.agreement.passed and not self.worse
        # Rounded, so that a drop of exactly max_drop does not fail by the last bit of a double.
        return round(self.fp32 - self.int8, 9) <= self.max_drop

    def __str__(self) -> str:
        said = (
            f"{self.metric} on validation: FP32 {self.fp32:.2f}, INT8 {self.int8:.2f}, "
            f"a drop of {self.fp32 - self.int8:.2f} "
            f"points where at most {self.max_drop:g} are allowed"
        )
        if not self.too_few:
            return said
        said += f"; {self.rows:,} rows are too few to tell, one is worth {self.resolution:.2f} points"
        if self.agreement is None:
            return f"{said}, and there are no training texts to ask"
        worse = ", and more become wrong than chance explains" if self.worse else ""
        return f"{said}{worse}; {self.agreement}"

    def record(self) -> dict[str, Any]:
        """For `metrics.json`."""
        found: dict[str, Any] = {"metric": self.metric, "fp32": self.fp32, "int8": self.int8}
        found |= {"max_drop": self.max_drop, "rows": self.rows, "resolution": self.resolution, "passed": self.passed}
        found["decided_by"] = "metric" if self.agreement is None else "agreement"
        if self.agreement is not None:
            asked = self.agreement
            found |= {"texts": asked.texts, "labels_changed": asked.changed, "worse_than_chance": self.worse}
            found |= {"expected_loss": asked.loss, "loss_at_most": asked.at_most, "outlier": asked.outlier}
        return found


def too_few(resolution: float, max_drop: float) -> bool:
    """Whether one row weighs too much for a drop of `max_drop` points to be told from luck."""
    return 0 < max_drop < ROWS_TO_TELL * resolution


@dataclass(frozen=True)
class Judge:
    """How good an INT8 file is.

    Attributes:
        scorer: of the model; its tokenizer and text settings.
        validation: `text` and `label`.
        task: with the metric.
        reference: FP32's logits on validation.
        texts: of training, for the agreement of labels.
        texts_reference: FP32's logits for them.
    """

    scorer: TextScorer
    validation: pd.DataFrame
    task: Task
    reference: np.ndarray
    texts: Sequence[str] = ()
    texts_reference: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def __call__(self, file: Path) -> tuple[float, float]:
        """Points of the metric, and the mean distance of the logits from FP32's.

        The metric alone is a coarse judge: one product rarely changes more than a few labels of a thousand.
        """
        logits = onnx_scorer_like(self.scorer, file).logits(self.validation["text"])
        return self.points(logits), float(np.abs(logits - self.reference).mean())

    def points(self, logits: np.ndarray) -> float:
        """Return the metric of these logits on validation, in points."""
        points: float = self.task.scores(logits, self.validation["label"])[self.task.metric] * 100
        return points

    def resolution(self) -> float:
        """Find the most that one row's other label moves the metric: with macro-F1, mostly one of the rarest class."""
        before, moved = self.points(self.reference), [100 / len(self.validation)]
        if not self.task.is_single_label:
            return moved[0]
        truth = self.validation["label"].to_numpy(dtype=int)
        right = self.reference.argmax(axis=1) == truth
        for row in [np.flatnonzero(right & (truth == label))[:1] for label in np.unique(truth)]:
            other = self.reference.copy()
            # The second best label in the place of the best.
            other[row, truth[row]] = other[row].min(initial=0) - 1
            moved.append(abs(before - self.points(other)))
        return max(moved)

    def with_texts(self, texts: Sequence[str], fp32: Path) -> Judge:
        """Return the same judge, which also asks how many labels of these texts stay: FP32 is asked once."""
        if not len(texts):
            return self
        return replace(self, texts=texts, texts_reference=onnx_scorer_like(self.scorer, fp32).logits(texts))

    def verdict(self, file: Path, max_drop: float, resolution: float = 0.0) -> GateResult:
        """Return what the gate says of a file."""
        scorer = onnx_scorer_like(self.scorer, file)
        logits = scorer.logits(self.validation["text"])
        result = GateResult(
            self.task.metric,
            self.points(self.reference),
            self.points(logits),
            max_drop,
            len(self.validation),
            resolution,
        )
        if not len(self.texts) or not result.too_few:
            return result
        before, after = labels_of(self.reference, self.task), labels_of(logits, self.task)
        costs = costs_of(self.reference, logits, self.task)
        more = costs_of(self.texts_reference, scorer.logits(self.texts), self.task)
        known = np.concatenate([before, labels_of(self.texts_reference, self.task)])
        agreement = agreement_of(costs, more, known, self.task, max_drop)
        return replace(result, worse=_worse(before, after, self.validation["label"]), agreement=agreement)


def labels_of(logits: np.ndarray, task: Task) -> np.ndarray:
    """Predicted ids, `[rows, cells]`."""
    return np.column_stack([cell.ids(logits) for cell in task.cells])


def costs_of(before: np.ndarray, after: np.ndarray, task: Task) -> np.ndarray:
    """Compute the cost of each label that changed, in the shape of `labels_of`; NaN where it did not change.

    Args:
        before: FP32's logits.
        after: INT8's.
        task: whose they are.
    """
    old, new = labels_of(before, task), labels_of(after, task)
    # The steps of a scale have no probability each: another step costs all of it.
    costs, rows = np.ones(old.shape), np.arange(len(old))
    for place, cell in enumerate(task.cells):
        if not cell.is_scale:
            probabilities = softmax(cell.logits(before).astype(np.float64))
            costs[:, place] = probabilities[rows, old[:, place]] - probabilities[rows, new[:, place]]
    return np.where(old != new, costs, np.nan)


def agreement_of(
    validation: np.ndarray, texts: np.ndarray, labels: np.ndarray, task: Task, max_drop: float
) -> Agreement:
    """How many labels change at what cost, overall and in each group that could be lost unseen.

    Args:
        validation: costs of the validation split's labels, as `costs_of` gives them.
        texts: those of the texts.
        labels: FP32's labels of both, as `labels_of` gives them.
        task: whose they are.
        max_drop: points that INT8 may lose.
    """
    given = np.concatenate([validation, texts])
    costs = np.nan_to_num(given)
    # Texts that were learned from are surer of their labels than others; the validation split's were not learned from.
    groups = {"the validation texts": (costs[: len(validation)].mean(axis=1), 1)}
    if not task.is_single_label:
        groups |= {f"the cells of {cell.name}": (costs[:, place], 2) for place, cell in enumerate(task.cells)}
    else:
        # A rare class can be lost without a trace in the sum. Hard classes change more often than others.
        of_class = [(name, labels[:, 0] == place) for place, name in enumerate(task.labels)]
        groups |= {f"the texts that are {name}": (costs[rows, 0], 2) for name, rows in of_class}
    outlier = None
    for name, (group, factor) in groups.items():
        lost, allowed = float(group.sum()), factor * TIMES_AT_MOST * max_drop / 100
        # The chance of so much where so much is allowed: the binomial's, for parts of a text as well.
        if lost and allowed < 1 and beta.cdf(allowed, lost, len(group) - lost + 1) < ALPHA / len(groups):
            outlier = name
            break
    return Agreement(
        len(given), float((~np.isnan(given)).mean(axis=1).sum()), float(costs.mean(axis=1).sum()), max_drop, outlier
    )


def _worse(before: np.ndarray, after: np.ndarray, labels: pd.Series) -> bool:
    """Test (one-sided sign test on validation) whether more predictions become wrong than right, beyond chance."""
    truth = np.array([np.atleast_1d(label) for label in labels])[:, : before.shape[1]]
    known = truth != MISSING
    lost = int((known & (before == truth) & (after != truth)).sum())
    won = int((known & (before != truth) & (after == truth)).sum())
    return bool(binom.sf(lost - 1, lost + won, 0.5) < ALPHA) if lost else False
