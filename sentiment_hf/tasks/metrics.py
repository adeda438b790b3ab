"""Scores of predictions, through the package's own `evaluate` module."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sentiment_hf.tasks.predictions import softmax

METRIC_MODULE = Path(__file__).parents[1] / "evaluation" / "sentiment_metrics"


@cache
def _metric_module() -> Any:
    import evaluate

    return evaluate.load(str(METRIC_MODULE), keep_in_memory=True)


def classification_scores(
    logits: np.ndarray, references: Sequence[int] | np.ndarray, label_names: Sequence[str]
) -> dict[str, Any]:
    """Scores of a classifier's output.

    Args:
        logits: `[rows, classes]`, or decision values: the largest entry is the prediction.
        references: `[rows]`, true label ids.
        label_names: in the order of the ids.

    Returns:
        What `sentiment_metrics` lists: accuracy, macro_f1, per_class, confusion_matrix, roc_auc, pr_auc and so on.
    """
    return _metric_module().compute(
        predictions=logits.argmax(axis=-1),
        references=np.asarray(references),
        label_names=list(label_names),
        # A logit alone does not rank rows by how likely a class is in them; its share of all classes does.
        scores=np.log(softmax(logits) + np.finfo(float).tiny),
    )
