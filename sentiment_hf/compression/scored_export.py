"""Score and time the exported files of a run beside torch and the baseline, and add them to its metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.compression.export import Exported
from sentiment_hf.compression.onnx import onnx_scorer_like
from sentiment_hf.evaluation.baseline import TfidfBaseline, baseline_logits
from sentiment_hf.evaluation.report import (
    headline,
    milliseconds_per_review,
    rows_fingerprint,
    system_row,
    write_metrics,
)
from sentiment_hf.inference.onnx_providers import PROVIDERS
from sentiment_hf.inference.onnx_session import onnx_paths, suits_this_machine
from sentiment_hf.inference.scorer import BATCH_SIZES
from sentiment_hf.tasks import Task
from sentiment_hf.training.folder import saved_split
from sentiment_hf.utils.files import size_mb

logger = logging.getLogger(__name__)


def score_exported(
    folder: Path,
    exported: Exported,
    metrics: dict[str, Any],
    splits: dict[str, pd.DataFrame],
    task: Task,
    baseline: TfidfBaseline | None = None,
) -> dict[str, Any]:
    """Add the exported files to the metrics of a run, all systems timed side by side on the rows of its figures.

    Args:
        folder: of the run, whose `metrics.json` is written.
        exported: its files, and its checkpoint as it was exported from.
        metrics: of the run, without its files.
        splits: the rows of its figures, by the name that `metrics` gives them, and the validation rows.
        task: of the run.
        baseline: the fitted baseline, to be timed along; without it the baseline's time stays what it was.

    Returns:
        The metrics, as written.
    """
    files = _files_that_run(folder, exported)
    # Another target's file says nothing of the one that runs here, nor does the gate's word on it.
    for_here = exported.gate is not None and suits_this_machine(exported.int8_name)
    if for_here and exported.int8 is None:
        metrics[exported.backend] = None
    elif exported.gate is not None and not for_here:
        logger.info("%s is for another processor: not scored here", exported.int8_name)
    # Each as `SentimentClassifier` runs it.
    scorers = {"fp32": replace(exported.scorer, batch_size=BATCH_SIZES["torch"])}
    for system, file in files.items():
        scorers[system] = replace(onnx_scorer_like(exported.scorer, file), batch_size=BATCH_SIZES[system])
    rows, validation = splits[metrics["split"]], splits["validation"]
    predictors: dict[str, Callable[[Sequence[str]], Any]] = {name: scorer.logits for name, scorer in scorers.items()}
    if baseline is not None:
        predictors["baseline"] = lambda texts: baseline_logits(baseline, texts, task)
    logger.info("timing %s side by side", ", ".join(predictors))
    times = milliseconds_per_review(predictors, rows["text"])
    # Figures of one table are of one timing.
    for system in ("baseline", "fp32"):
        if system in times:
            metrics[system]["ms_per_review"] = times[system]
    for system, file in files.items():
        logits, train_rows = scorers[system].logits, metrics["fp32"]["train_rows"]
        scores, chosen = (task.scores(logits(part["text"]), part["label"]) for part in (rows, validation))
        row = system_row(scores, size_mb(file), times[system], train_rows) | {"validation": headline(chosen)}
        metrics[system] = row | {"file": file.name, "providers": [PROVIDERS["cpu"]]}
    if for_here and exported.gate is not None:
        metrics[f"{exported.backend}_gate"] = exported.gate.record()
        metrics.pop(f"{exported.backend}_refused", None)
    if for_here and exported.refusal:
        metrics[f"{exported.backend}_refused"] = exported.refusal
    write_metrics(folder, metrics)
    return metrics


def _files_that_run(folder: Path, exported: Exported) -> dict[str, Path]:
    """Backend -> the file that was exported for it, where it is the one that the backend opens on this machine."""
    files = {"onnx": exported.fp32}
    if exported.int8 is not None and suits_this_machine(exported.int8_name):
        files[exported.backend] = exported.int8
    opened = {}
    for backend, file in files.items():
        first = next(path for name in onnx_paths(backend) if (path := folder / name).is_file())
        if first == file:
            opened[backend] = file
        else:
            logger.info("%s is not scored: %s runs here before it", file.name, first)
    return opened


def scored_splits(folder: Path, metrics: dict[str, Any], task: Task) -> dict[str, pd.DataFrame] | None:
    """Read the rows that a run's figures are of and its validation rows; None where they are gone or others by now."""
    splits = {split: saved_split(folder, split, task) for split in {metrics["split"], "validation"}}
    found = {split: rows for split, rows in splits.items() if rows is not None}
    if len(found) < len(splits):
        return None
    fingerprint = rows_fingerprint(found[metrics["split"]], task)
    return found if metrics.get("rows_fingerprint", fingerprint) == fingerprint else None
