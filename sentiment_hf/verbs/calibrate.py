"""`sentiment-hf calibrate`: probabilities that mean what they say, and a threshold below which the model is silent."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_of_one_label
from sentiment_hf.evaluation.calibration import (
    calibration_report,
    fit_temperature,
    threshold_for,
)
from sentiment_hf.evaluation.pictures import reliability_plot
from sentiment_hf.evaluation.prediction import softmax
from sentiment_hf.exceptions import InputError, MissingExtraError
from sentiment_hf.files import read_json, write_json
from sentiment_hf.job import saved_split
from sentiment_hf.modeling.saved import record_calibration
from sentiment_hf.serving.predictor import SentimentClassifier
from sentiment_hf.tasks import Task

logger = logging.getLogger(__name__)

REPORT_FILE, PLOT_FILE = "calibration.json", "reliability.png"


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    folder = Path(args.model)
    if not (folder / "config.json").is_file():
        remedy = "Download it first; the result is written into its config."
        raise InputError("the folder of a saved model", args.model, remedy)
    classifier = SentimentClassifier.from_pretrained(folder, args.backend, args.provider)
    task = task_of_one_label(classifier.task, "Its cells are not calibrated.")
    logits, labels = _answers(classifier, task, args.data, "dev", args)
    temperature = fit_temperature(logits, labels)
    threshold, answered = None, 1.0
    if args.precision is not None:
        threshold, answered = threshold_for(softmax(logits / temperature), labels, args.precision)
    report: dict[str, Any] = {"temperature": temperature, "threshold": threshold, "answered": answered}
    report["fitted_on"] = calibration_report(logits, labels, temperature)
    scored = report["fitted_on"]
    if args.test or saved_split(folder, "test", task) is not None:
        test_logits, test_labels = _answers(classifier, task, args.test, "test", args)
        report["test"] = scored = calibration_report(test_logits, test_labels, temperature)
        if threshold is not None:
            probabilities = softmax(test_logits / temperature)
            given = probabilities.max(axis=1) >= threshold
            right = probabilities.argmax(axis=1) == test_labels
            precision = float(right[given].mean()) if given.any() else None
            report["test"] |= {"answered": float(given.mean()), "precision": precision}
    config = read_json(folder / "config.json")
    record_calibration(config, temperature, threshold)
    write_json(folder / REPORT_FILE, report)
    try:
        reliability_plot(scored, folder / PLOT_FILE)
    except MissingExtraError as error:
        logger.warning("no picture: %s", error)
    # Last: whoever reads it finds the report of the same temperature beside it.
    write_json(folder / "config.json", config)
    _show(report, folder)
    return 0


def _answers(
    classifier: SentimentClassifier, task: Task, file: str | None, split: str, args: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    if file:
        rows = load_labelled(file, task, ReadOptions.from_args(args))
    else:
        saved = saved_split(Path(args.model), split, task)
        if saved is None:
            remedy = "Name labelled rows that it was not trained on with --data."
            raise InputError(f"{split} rows saved beside {args.model}", "none", remedy)
        rows = saved
    rows = rows[~rows["text"].map(is_blank)]
    if rows.empty:
        raise InputError("labelled rows with text", "none", "Check the text column.")
    return classifier.scorer.logits(rows["text"]), rows["label"].to_numpy(dtype=int)


def _show(report: dict[str, Any], folder: Path) -> None:
    show(f"temperature {report['temperature']:.3f}")
    for name in ("fitted_on", "test"):
        if name in report:
            errors = [report[name][when]["expected_calibration_error"] for when in ("before", "after")]
            rows = f"{report[name]['rows']:,} rows"
            show(f"{name.replace('_', ' ')} ({rows}): calibration error {errors[0]:.4f} -> {errors[1]:.4f}")
    if report["threshold"] is not None:
        show(f"threshold {report['threshold']:.4f}: {report['answered']:.1%} of the rows fitted on are answered")
        if report.get("test", {}).get("precision") is not None:
            show(f"on test {report['test']['answered']:.1%} are answered, {report['test']['precision']:.1%} rightly")
    show(f"Written into {folder / 'config.json'}; see {folder / REPORT_FILE}")
