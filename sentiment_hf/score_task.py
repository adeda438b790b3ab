"""What a model from elsewhere answers that does not choose one label: a score for each of its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MULTI_LABEL, REGRESSION = "multi_label_classification", "regression"
# As transformers' metrics and most papers decide on a label of several.
LABEL_THRESHOLD = 0.5


@dataclass(frozen=True)
class ScoreTask:
    """A task whose outputs stand each for themselves; such a model predicts, and is not trained or measured here.

    Attributes:
        labels: label names in the order of their ids.
        problem_type: as in the model's config: `multi_label_classification`, `regression`, or None for a model of one
            output that does not say.
        name: shown where a task's name is.
    """

    labels: tuple[str, ...]
    problem_type: str | None = None

    @property
    def name(self) -> str:
        return self.problem_type or "score"

    @property
    def is_multi_label(self) -> bool:
        return self.problem_type == MULTI_LABEL

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Logits `[rows, labels]` -> scores of the same shape, by the rule of transformers' `pipeline()`: a regression
        as it is, anything else through a sigmoid."""
        return logits if self.problem_type == REGRESSION else np.exp(-np.logaddexp(0, -logits))

    @staticmethod
    def is_meant(problem_type: str | None, num_labels: int) -> bool:
        """Whether a config with these fields is of this kind, by the same rule."""
        return problem_type in (MULTI_LABEL, REGRESSION) or num_labels == 1
