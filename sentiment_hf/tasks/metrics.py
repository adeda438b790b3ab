"""Metrics: single labels through the `evaluate` module, and aspects with stars."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score

from sentiment_hf.tasks.aspects import NOT_MENTIONED, STARS, AspectTask, stars_of
from sentiment_hf.tasks.labels import MISSING
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


logger = logging.getLogger(__name__)


def aspect_scores(outputs: np.ndarray, references: np.ndarray, task: AspectTask) -> dict[str, Any]:
    """Scores over all cells and over those that are mentioned.

    Over all cells the prediction is the largest of four logits; over mentioned cells, as in ASAP's paper (Bu et al.
    2021), the largest of the three that are not `not mentioned`. The F1 of an aspect is the mean over the values that
    occur in it, as truth or as prediction; `macro_f1` is the mean over aspects. An aspect that no row mentions has
    None, over all cells as over mentioned ones, and is left out of the means.

    Args:
        outputs: `[rows, width]`, see `AspectTask`.
        references: `[rows, aspects]` or, with stars in the last column, `[rows, aspects + 1]`; `MISSING` is left out.
        task: names and number of the aspects, and what the rating is.

    Returns:
        `accuracy` and `macro_f1` (all cells, four values), `mentioned_accuracy` and `mentioned_macro_f1` (mentioned
        cells, three values), `pooled_macro_f1` and `mentioned_pooled_macro_f1` (all aspects' cells as one set),
        `per_aspect` (name -> these and the numbers of cells), `rows`; where stars are known `rating_accuracy`,
        `rating_mae` (stars, of the expected rating), `rating_kappa` (quadratic) and `rated_rows`.
    """
    logits, rating = task.unpack(outputs)
    cells = references[:, : len(task.aspects)]
    four, three = logits.argmax(axis=-1), logits[..., :NOT_MENTIONED].argmax(axis=-1)
    known, mentioned = cells != MISSING, (cells != MISSING) & (cells != NOT_MENTIONED)
    per_aspect = {}
    for place, aspect in enumerate(task.aspects):
        in_all, in_mentioned = known[:, place], mentioned[:, place]
        per_aspect[aspect] = _pair("", cells[in_all, place], four[in_all, place]) | _pair(
            "mentioned_", cells[in_mentioned, place], three[in_mentioned, place]
        )
        per_aspect[aspect] |= {"cells": int(in_all.sum()), "mentioned_cells": int(in_mentioned.sum())}
        if not in_mentioned.any():
            # One value alone: right and wrong predictions would make it 1 or a third, and the mean a matter of luck.
            per_aspect[aspect]["macro_f1"] = None
    undefined = [aspect for aspect, scores in per_aspect.items() if scores["mentioned_macro_f1"] is None]
    if undefined:
        logger.warning("nothing is said of %s in these rows: no F1, left out of the mean", ", ".join(undefined))
    scores: dict[str, Any] = {}
    for prefix, mask, prediction in (("", known, four), ("mentioned_", mentioned, three)):
        pooled = _pair(prefix, cells[mask], prediction[mask])
        scores[f"{prefix}accuracy"] = pooled[f"{prefix}accuracy"]
        scores[f"{prefix}macro_f1"] = _mean([aspect[f"{prefix}macro_f1"] for aspect in per_aspect.values()])
        scores[f"{prefix}pooled_macro_f1"] = pooled[f"{prefix}macro_f1"]
    scores["rows"] = len(cells)
    if rating is not None and references.shape[1] > len(task.aspects):
        scores |= _rating_scores(rating, references[:, -1])
    return scores | {"per_aspect": per_aspect}


def _pair(prefix: str, truth: np.ndarray, prediction: np.ndarray) -> dict[str, float | None]:
    if len(truth) == 0:
        return {f"{prefix}accuracy": None, f"{prefix}macro_f1": None}
    f1 = f1_score(truth, prediction, average="macro", zero_division=0)
    return {f"{prefix}accuracy": float(accuracy_score(truth, prediction)), f"{prefix}macro_f1": float(f1)}


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _rating_scores(rating: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    rated = truth != MISSING
    if not rated.any():
        return {}
    stars, expected = stars_of(rating[rated])
    # One star only leaves no agreement beyond chance to measure.
    both = set(stars.tolist()) | set(truth[rated].tolist())
    # By their names: left to itself it would count from one number that occurs to the next.
    kappa = cohen_kappa_score(truth[rated], stars, labels=STARS, weights="quadratic") if len(both) > 1 else None
    return {
        "rating_accuracy": float(accuracy_score(truth[rated], stars)),
        "rating_mae": float(np.abs(expected - truth[rated]).mean()),
        "rating_kappa": None if kappa is None else float(kappa),
        "rated_rows": int(rated.sum()),
    }
