"""Predictions of third-party models that do not choose one label but score each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from sentiment_hf.tasks.base import TOP_K, Cell, Task
from sentiment_hf.tasks.predictions import LABEL_THRESHOLD, AnyPrediction, ScorePrediction, score_columns
from sentiment_hf.utils.exceptions import InputError

MULTI_LABEL, REGRESSION = "multi_label_classification", "regression"


@dataclass(frozen=True)
class ScoreTask(Task):
    """A task whose outputs stand each for themselves; such a model predicts, and is not trained or measured here.

    Attributes:
        names: label names in the order of their ids.
        problem_type: as in the model's config: `multi_label_classification`, `regression`, or None for a model of one
            output that does not say.
        name: shown where a task's name is.
    """

    names: tuple[str, ...]
    problem_type: str | None = None

    has_labelled_rows = False
    space = None
    metric = "macro_f1"

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.problem_type or "score"

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.name

    @property
    def labels(self) -> tuple[str, ...]:
        return self.names

    @property
    def cells(self) -> tuple[Cell, ...]:
        return ()

    @property
    def is_multi_label(self) -> bool:
        return self.problem_type == MULTI_LABEL

    def label_scores(self, logits: np.ndarray) -> np.ndarray:
        """Logits `[rows, labels]` -> scores of the same shape, by the rule of transformers' `pipeline()`: a regression
        as it is, anything else through a sigmoid."""
        return logits if self.problem_type == REGRESSION else np.exp(-np.logaddexp(0, -logits))

    @staticmethod
    def is_meant(problem_type: str | None, num_labels: int) -> bool:
        """Whether a config with these fields is of this kind, by the same rule."""
        return problem_type in (MULTI_LABEL, REGRESSION) or num_labels == 1

    def predictions(
        self,
        texts: Sequence[str | None],
        logits: np.ndarray,
        top_k: int = TOP_K,
        temperature: float = 1.0,
        threshold: float | None = None,
    ) -> list[AnyPrediction]:
        self.check_width(logits)
        return [self._prediction(text, row) for text, row in zip(texts, self.label_scores(logits), strict=True)]

    def _prediction(self, text: str | None, row: np.ndarray) -> ScorePrediction:
        scores = dict(zip(self.labels, row.tolist(), strict=True))
        if not self.is_multi_label:
            return ScorePrediction(text, scores)
        ranked = sorted(self.labels, key=lambda label: -scores[label])
        return ScorePrediction(text, scores, tuple(label for label in ranked if scores[label] > LABEL_THRESHOLD))

    def no_prediction(self, text: str | None, reason: str | None) -> ScorePrediction:
        return ScorePrediction(text, reason=reason)

    def prediction_columns(self) -> tuple[str, ...]:
        chosen = ("predicted_labels",) if self.is_multi_label else ()
        return (*chosen, *score_columns(self.labels, self.is_multi_label), "reason")

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        remedy = "`predict` and `serve` return its scores; what learns from labelled rows or is scored on them "
        raise InputError("a model that chooses one label", f"one of {self.name}", remedy + "needs one label a text.")

    # Nobody gets here: `task_with_rows` refuses such a task with the same sentence before.
    check_training = name_labels = loss = class_weights = log_priors = to_dict = scores = _refuse
