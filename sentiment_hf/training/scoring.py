"""The scores of a run: model and baseline on validation and on the held-out split, timed side by side."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np

from sentiment_hf.data.preparation import PreparedData
from sentiment_hf.evaluation.baseline import TfidfBaseline, baseline_logits, baseline_size_mb, fit_baseline
from sentiment_hf.evaluation.prediction import TextScorer
from sentiment_hf.evaluation.recorded import rows_fingerprint, write_predictions
from sentiment_hf.evaluation.report import system_row
from sentiment_hf.evaluation.scores import chunk_scores, headline
from sentiment_hf.evaluation.timing import milliseconds_per_review
from sentiment_hf.files import size_mb
from sentiment_hf.training.arguments import RunArguments

logger = logging.getLogger(__name__)


def score_baseline(
    args: RunArguments, data: PreparedData, beside: dict[str, Any] | None = None
) -> tuple[TfidfBaseline, dict[str, Any], dict[str, float]]:
    """Fit the baseline on all training rows, score it on validation and test, and time it beside other predictors.

    Returns:
        The fitted baseline, the metrics so far, and the milliseconds a review of the baseline and of the others.
    """
    train_rows, validation, held_out = data.splits["train"], data.splits["validation"], data.splits[_scored_split(data)]
    logger.info("fitting the baseline on %d rows", len(train_rows))
    baseline = fit_baseline(train_rows["text"], train_rows["label"], data.task)
    predict = partial(baseline_logits, baseline, task=data.task)
    predictors = {"baseline": predict, **(beside or {})}
    times = milliseconds_per_review(predictors, held_out["text"])
    scores = data.task.scores(predict(held_out["text"]), held_out["label"])
    row = system_row(scores, baseline_size_mb(baseline), times["baseline"], len(train_rows))
    row["validation"] = headline(data.task.scores(predict(validation["text"]), validation["label"]))
    return baseline, _metrics_head(args, data) | {"baseline": row}, times


def score_run(
    args: RunArguments, data: PreparedData, scorer: TextScorer, trained_on: int
) -> tuple[TfidfBaseline | None, dict[str, Any]]:
    """Score the model and the baseline on validation and test, and time both side by side."""
    validation, held_out = data.splits["validation"], data.splits[_scored_split(data)]
    predictors = {"fp32": scorer.logits}
    baseline = None
    if args.training.baseline:
        baseline, metrics, times = score_baseline(args, data, predictors)
    else:
        metrics, times = _metrics_head(args, data), milliseconds_per_review(predictors, held_out["text"])
    # Long documents take long: what was said of each chunk on the way is kept.
    documents = scorer.documents(list(held_out["text"])) if args.text_settings.is_sliding else None
    logits = scorer.logits(held_out["text"]) if documents is None else documents.logits
    write_predictions(args.training.folder, logits, np.array([np.asarray(label) for label in held_out["label"]]))
    scores = data.task.scores(logits, held_out["label"])
    weights = args.training.folder / "model.safetensors"
    metrics["fp32"] = system_row(scores, size_mb(weights), times["fp32"], trained_on)
    metrics["fp32"]["validation"] = headline(data.task.scores(scorer.logits(validation["text"]), validation["label"]))
    if documents is not None:
        metrics["fp32"]["chunk_level"] = chunk_scores(documents, held_out["label"], data.task)
    return baseline, metrics


def _scored_split(data: PreparedData) -> str:
    return "test" if "test" in data.splits else "validation"


def _metrics_head(args: RunArguments, data: PreparedData) -> dict[str, Any]:
    return {
        "name": args.training.folder.name,
        "task": data.task.name,
        "protocol": args.data.protocol,
        "split": _scored_split(data),
        "rows": {name: len(frame) for name, frame in data.splits.items()},
        "left_out": data.left_out,
        "rows_fingerprint": rows_fingerprint(data.splits[_scored_split(data)], data.task),
    }
