"""The main job, end to end: train, score beside the baseline, export, quantize behind the gate, and one report."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.compression.export import Exported, export_model
from sentiment_hf.compression.onnx import check_exportable, check_exporter
from sentiment_hf.compression.quantization import Quantization
from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.labelled import load_labelled, task_with_rows
from sentiment_hf.evaluation.baseline import TfidfBaseline, baseline_logits
from sentiment_hf.evaluation.recorded import rows_fingerprint
from sentiment_hf.evaluation.report import METRICS_FILE, metrics_table, read_metrics, system_row, write_metrics
from sentiment_hf.evaluation.scores import headline
from sentiment_hf.evaluation.timing import milliseconds_per_review
from sentiment_hf.exceptions import exits_cleanly
from sentiment_hf.files import size_mb
from sentiment_hf.modeling.classifier import SCRATCH
from sentiment_hf.modeling.loading import load_config
from sentiment_hf.modeling.onnx_session import suits_this_machine
from sentiment_hf.publishing.push import PushOptions, check_push, push_run, show_pushed
from sentiment_hf.serving.predictor import SentimentClassifier
from sentiment_hf.tasks import Task
from sentiment_hf.training.advice import show_advice
from sentiment_hf.training.defaults import parse_command_line
from sentiment_hf.training.run import SPLITS_FOLDER, train

logger = logging.getLogger(__name__)


def saved_split(folder: Path, split: str, task: Task) -> pd.DataFrame | None:
    """Read a split that a run saved beside its model, labels as ids; return None where it saved none."""
    path = folder / SPLITS_FOLDER / f"{split}.jsonl"
    return load_labelled(path, task) if path.is_file() else None


def _scored_split(folder: Path, metrics: dict[str, Any], task: Task) -> pd.DataFrame | None:
    """Read the rows that a run's figures are of; return None where they are gone or others by now."""
    rows = saved_split(folder, metrics["split"], task)
    fingerprint = None if rows is None else rows_fingerprint(rows, task)
    return rows if metrics.get("rows_fingerprint", fingerprint) == fingerprint else None


def score_exported(folder: Path, exported: Exported, baseline: TfidfBaseline | None = None) -> dict[str, Any]:
    """Add the exported files to a run's `metrics.json`, all systems timed side by side on the held-out rows.

    Args:
        folder: of the run.
        exported: its files.
        baseline: the fitted baseline, to be timed along; without it the baseline's time stays what it was.

    Returns:
        The metrics, as written.
    """
    metrics = read_metrics(folder)
    files = {"onnx": exported.fp32}
    # Another target's file says nothing of the one that runs here, nor does the gate's word on it.
    for_here = exported.gate is not None and suits_this_machine(exported.int8_name)
    if for_here and exported.int8 is not None:
        files[exported.backend] = exported.int8
    elif for_here:
        metrics[exported.backend] = None
    elif exported.gate is not None:
        logger.info("%s is for another processor: not scored here", exported.int8_name)
    classifiers = {backend: SentimentClassifier.from_pretrained(folder, backend) for backend in ("torch", *files)}
    for backend, file in list(files.items()):
        if classifiers[backend].file != file:
            logger.info("%s is not scored: %s runs here before it", file.name, classifiers[backend].file)
            del files[backend], classifiers[backend]
    task = task_with_rows(classifiers["torch"].task)
    held_out, validation = _scored_split(folder, metrics, task), saved_split(folder, "validation", task)
    if held_out is None or validation is None:
        logger.warning("%s has no longer the rows of its metrics: the exported files are not scored", folder)
        return metrics
    predictors: dict[str, Callable[[Sequence[str]], Any]] = {
        "fp32" if backend == "torch" else backend: classifier for backend, classifier in classifiers.items()
    }
    if baseline is not None:
        predictors["baseline"] = lambda texts: baseline_logits(baseline, texts, task)
    logger.info("timing %s side by side", ", ".join(predictors))
    times = milliseconds_per_review(predictors, held_out["text"])
    # Figures of one table are of one timing.
    for system in ("baseline", "fp32"):
        if system in times:
            metrics[system]["ms_per_review"] = times[system]
    for system, file in files.items():
        scorer = classifiers[system].scorer
        scores, on_validation = (
            task.scores(scorer.logits(rows["text"]), rows["label"]) for rows in (held_out, validation)
        )
        row = system_row(scores, size_mb(file), times[system], metrics["fp32"]["train_rows"])
        row["validation"] = headline(on_validation)
        metrics[system] = row | {"file": file.name, "providers": list(classifiers[system].providers)}
    if for_here and exported.gate is not None:
        metrics[f"{exported.backend}_gate"] = exported.gate.record()
        metrics.pop(f"{exported.backend}_refused", None)
    if for_here and exported.refusal:
        metrics[f"{exported.backend}_refused"] = exported.refusal
    write_metrics(folder, metrics)
    return metrics


def export_run(
    model: str,
    quantization: Quantization,
    validation: pd.DataFrame | None = None,
    output: Path | None = None,
    baseline: TfidfBaseline | None = None,
    activation_rows: pd.DataFrame | None = None,
) -> tuple[Exported, dict[str, Any] | None]:
    """Export a model and, where it is a run with metrics, score the files into them."""
    folder = Path(model)
    exported = export_model(model, validation, quantization, output, activation_rows)
    # An evaluation of a model from elsewhere has metrics, too, but no splits.
    is_run = output is None and (folder / METRICS_FILE).is_file() and "split" in read_metrics(folder)
    return exported, score_exported(folder, exported, baseline) if is_run else None


@exits_cleanly
def main(argv: Sequence[str] | None = None) -> int:
    """Run a recipe to its end and show the report."""
    args = parse_command_line(sys.argv[1:] if argv is None else argv)
    log_to_stderr(logging.INFO if args.training.process_index == 0 else logging.WARNING)
    hub = args.training
    if hub.push_finished_run:
        check_push(hub.hub_model_id, hub.folder, hub.hub_token)
    check_exporter()
    if args.model.model not in (None, SCRATCH):
        check_exportable(load_config(args.model.model, args.model.model_revision), args.model.model)
    finished = train(args)
    if not finished.metrics:
        return 0
    export = args.export
    splits = finished.data.splits
    exported, metrics = export_run(
        str(finished.folder),
        Quantization(export.quantize, export.arch, export.max_drop, export.activation_ranges, export.sensitivity),
        splits["validation"],
        baseline=finished.baseline,
        activation_rows=splits["train"],
    )
    show(metrics_table([metrics or finished.metrics]))
    show_advice(metrics or finished.metrics)
    show(f"Model, onnx/, audit.json, train.log and {METRICS_FILE} are in {finished.folder}")
    if exported.refusal:
        show(exported.refusal)
    show(f"Try it: sentiment-hf predict --model {finished.folder} TEXT")
    if hub.push_finished_run and hub.hub_model_id is not None:
        options = PushOptions(private=bool(hub.hub_private_repo), token=hub.hub_token)
        show_pushed(*push_run(finished.folder, hub.hub_model_id, options))
    return 0
