"""Score a run beside the baseline, and give advice if it is below."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sentiment_hf.data.preparation import PreparedData
from sentiment_hf.data.tokenization import SLIDING
from sentiment_hf.evaluation.baseline import TfidfBaseline, baseline_logits, baseline_size_mb, fit_baseline
from sentiment_hf.evaluation.report import (
    TITLES,
    chunk_scores,
    headline,
    milliseconds_per_review,
    rows_fingerprint,
    system_row,
    write_predictions,
)
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.classifier import SCRATCH
from sentiment_hf.training.arguments import RunArguments
from sentiment_hf.utils.console import show
from sentiment_hf.utils.files import size_mb

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


BELOW = "below_baseline"
# The scores that are compared, the first that a task has.
_COMPARED = ("macro_f1", "mentioned_macro_f1")
# Below these many rows more labels help most.
_FEW_ROWS, _FEW_OF_A_CLASS = 1_000, 10
_MANY_CUT, _MANY_CONFLICTS = 0.1, 0.01


@dataclass(frozen=True)
class Training:
    """What advice depends on.

    Attributes:
        model: as the run names it.
        train_file: of the run, None where it read a dataset.
        rows: learned from.
        class_counts: label name -> rows learned from.
        learning_rate: of the run.
        usual_rate: by the rule for a model of this size.
        epochs: trained, at most.
        better_to_the_end: whether the last evaluation on validation was the best one.
        cut: share of the training texts longer than `max_length`.
        max_length: tokens that were kept.
        truncation: what of a long text was kept.
        conflicting: training rows whose text also has another label.
    """

    model: str
    train_file: str | None
    rows: int
    class_counts: dict[str, int]
    learning_rate: float
    usual_rate: float
    epochs: float
    better_to_the_end: bool
    cut: float
    max_length: int
    truncation: str
    conflicting: int


def below_baseline(metrics: dict[str, Any], training: Training) -> dict[str, Any]:
    """Entries for `metrics.json`: by how much the model is below the baseline on the held-out rows, and what to do.

    Empty where it is not below, and where there is no baseline.
    """
    baseline, model = metrics.get("baseline"), metrics["fp32"]
    score = next((name for name in _COMPARED if name in model), None)
    if baseline is None or score is None or model[score] >= baseline[score]:
        return {}
    figures = {"score": score, "model": model[score], "baseline": baseline[score], "rows": model["rows"]}
    return {BELOW: figures | {"advice": advice(training, model["rows"])}}


def advice(training: Training, held_out_rows: int) -> list[str]:
    """Sentences, the most promising first."""
    lines = []
    rate, usual = training.learning_rate, training.usual_rate
    if training.model == SCRATCH:
        lines.append("Start from a trained encoder: --model starter. Random weights need far more rows.")
    if not usual / 2 <= rate <= usual * 3:
        lines.append(f"Use --learning_rate {usual:g}, which suits a model of this size; this run had {rate:g}.")
    if training.better_to_the_end:
        lines.append(
            f"Train longer: --num_train_epochs {2 * training.epochs:g}. The last evaluation was still the best one."
        )
    if training.cut > _MANY_CUT and training.truncation != SLIDING:
        remedy = "--max_length 512 --truncation head_tail, or --truncation sliding for all of a text."
        lines.append(f"{training.cut:.0%} of the texts are longer than {training.max_length} tokens: {remedy}")
    if training.conflicting > _MANY_CONFLICTS * training.rows:
        lines.append(f"{training.conflicting:,} rows have a text that also stands there with another label: decide.")
    named = training.train_file or "FILE"
    lines.append(f"Look for wrong labels: sentiment-hf data clean --fast --train_file {named} --output_dir runs/clean")
    rare = [f"{label} has {count}" for label, count in training.class_counts.items() if count < _FEW_OF_A_CLASS]
    if rare:
        lines.append(f"Label more rows of rare classes ({', '.join(rare[:3])} in training), or merge them with others.")
    elif training.rows < _FEW_ROWS:
        lines.append(f"Label more rows: the model learned from {training.rows:,}.")
    if held_out_rows < _FEW_ROWS:
        lines.append(f"Repeat with --split_seed 43: on {held_out_rows:,} rows a difference may be chance.")
    settings = "TfidfVectorizer and LinearSVC of scikit-learn, with the settings in docs/measuring.md"
    lines.append(f"Until then the baseline is the better choice: {settings}.")
    return lines


def show_advice(metrics: dict[str, Any]) -> None:
    """Print what `below_baseline` found, if anything."""
    found = metrics.get(BELOW)
    if found is None:
        return
    score = f"{TITLES[found['score']]} {100 * found['model']:.1f} against {100 * found['baseline']:.1f}"
    lines = [f"Below the TF-IDF baseline: {score} on {found['rows']:,} held-out rows. What to do:"]
    show("\n".join([*lines, *(f"  {number}. {line}" for number, line in enumerate(found["advice"], 1))]))
