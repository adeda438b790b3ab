"""Scores of any task's predictions, in one form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sentiment_hf.evaluation.prediction import ScoredDocuments
from sentiment_hf.tasks import Task

# Those that tables show, in their order, with their titles; each task has some of them.
TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "mentioned_accuracy": "mentioned accuracy",
    "mentioned_macro_f1": "mentioned macro-F1",
    "rating_accuracy": "stars accuracy",
    "rating_mae": "stars MAE",
    "rating_kappa": "stars kappa",
}


def chunk_scores(documents: ScoredDocuments, labels: Sequence[Any], task: Task) -> dict[str, Any]:
    """Score single chunks, each judged by its document's label; the document's own scores stand beside these.

    Args:
        documents: with the logits of each chunk.
        labels: of the documents.
        task: whose they are.
    """
    given = list(labels)
    logits, places = documents.chunk_logits
    scores = task.scores(logits, [given[place] for place in places])
    shown = {name: scores[name] for name in ("confusion_matrix",) if name in scores}
    return headline(scores) | shown | {"rows": len(logits)}


def headline(scores: dict[str, Any]) -> dict[str, float]:
    """Select the scores that tables show."""
    return {name: scores[name] for name in (*TITLES, "pr_auc") if scores.get(name) is not None}


def shown_scores(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Which scores a terminal has room for: all that some row has, for aspects without the three accuracies."""
    names = [name for name in TITLES if any(name in row for row in rows)]
    return [name for name in names if not name.endswith("accuracy")] if "mentioned_macro_f1" in names else names


def many_classes(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether these are scores of more than two classes, of which macro-F1 alone says little about the rare ones."""
    return any(len(row.get("per_class", ())) > 2 for row in rows)


def metrics_for_trainer(task: Task) -> Callable[[Any], dict[str, float]]:
    """Build a `compute_metrics` for `Trainer`, of the scores that are plain numbers."""

    def compute_metrics(output: Any) -> dict[str, float]:
        scores = task.scores(output.predictions, output.label_ids)
        return {name: value for name, value in scores.items() if isinstance(value, float)}

    return compute_metrics
