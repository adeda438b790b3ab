"""`sentiment-hf evaluate --calibrate`: temperature scaling and an abstention threshold."""

from __future__ import annotations

import argparse
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment_hf.utils.console import show
from sentiment_hf.utils.exceptions import InputError, MissingExtraError
from sentiment_hf.utils.files import (
    finish_replacing,
    move_files,
    read_json,
    replace_together,
    staging_folder,
    write_json,
)

if TYPE_CHECKING:
    import numpy as np

    from sentiment_hf.data.tokenization import TextSettings
    from sentiment_hf.inference.predictor import SentimentClassifier
    from sentiment_hf.tasks import Task

logger = logging.getLogger(__name__)
CONFIG_FILE, REPORT_FILE, PLOT_FILE = "config.json", "calibration.json", "reliability.png"


def add_calibrate_options(parser: argparse.ArgumentParser) -> None:
    text = "temperature scaling, fitted on --data (default: the saved validation rows) and saved with the model"
    group = parser.add_argument_group("calibration", text)
    group.add_argument("--calibrate", action="store_true", help="fit a temperature instead of evaluating")
    text = "rows to evaluate the calibration on (default: the test rows saved with the run)"
    group.add_argument("--test_file", metavar="FILE", help=text)
    text = "also set an abstention threshold with this precision above it, for example 0.95"
    group.add_argument("--precision", type=float, metavar="SHARE", help=text)


def calibrate(args: argparse.Namespace) -> int:
    from sentiment_hf.data.labelled import task_of_one_label
    from sentiment_hf.inference.calibration import (
        calibration_report,
        fit_temperature,
        held_out_check,
        threshold_for,
        too_few_for,
    )
    from sentiment_hf.inference.predictor import SentimentClassifier
    from sentiment_hf.modeling.config_io import folded_temperature
    from sentiment_hf.modeling.loading import load_config
    from sentiment_hf.tasks import softmax
    from sentiment_hf.training.folder import saved_split

    folder = Path(args.model)
    if finish_replacing(folder, CONFIG_FILE):
        logger.warning("an interrupted calibration of %s was completed first", folder)
    if not (folder / CONFIG_FILE).is_file():
        remedy = "Download it first; the result is written into its files."
        raise InputError("the folder of a saved model", args.model, remedy)
    classifier = SentimentClassifier.from_pretrained(folder, args.backend, args.provider)
    task = task_of_one_label(classifier.task, "Its cells are not calibrated.")
    logits, labels = _logits_and_labels(classifier, task, args.data, "validation", args)
    old, before = classifier.calibration.temperature, folded_temperature(load_config(args.model))
    held_out = held_out_check(logits, labels, old)
    if held_out.refusal is not None:
        logger.warning("the temperature stays as it was (%.3f): %s", old * before, held_out.refusal)
        if args.precision is None:
            show(f"Nothing was written into {folder}")
            return 0
        temperature = old
    else:
        temperature = fit_temperature(logits, labels)
    threshold, coverage = None, 1.0
    if args.precision is not None:
        probabilities = softmax(logits / temperature)
        threshold, coverage = threshold_for(probabilities, labels, args.precision)
        few = too_few_for(args.precision, round(coverage * len(labels)))
        if few is not None:
            logger.warning("%s", few)
    report: dict[str, Any] = {"temperature": before * temperature, "threshold": threshold, "coverage": coverage}
    report["held_out"] = held_out.to_dict()
    report["fitted_on"] = scored = calibration_report(logits / old, labels, temperature / old)
    if args.test_file or saved_split(folder, "test", task) is not None:
        test_logits, test_labels = _logits_and_labels(classifier, task, args.test_file, "test", args)
        report["test"] = scored = calibration_report(test_logits / old, test_labels, temperature / old)
        if threshold is not None:
            probabilities = softmax(test_logits / temperature)
            given = probabilities.max(axis=1) >= threshold
            right = probabilities.argmax(axis=1) == test_labels
            precision = float(right[given].mean()) if given.any() else None
            report["test"] |= {"coverage": float(given.mean()), "precision": precision}
    _write(folder, classifier.scorer.settings, report, scored, temperature, before)
    _show(report, folder)
    return 0


def _write(
    folder: Path,
    settings: TextSettings,
    report: dict[str, Any],
    scored: dict[str, Any],
    temperature: float,
    before: float,
) -> None:
    """Put the temperature into the files of weights, or into the config where it does not go into all of them."""
    from sentiment_hf.evaluation.plots import reliability_plot
    from sentiment_hf.inference.calibration import CannotFold, fold_temperature
    from sentiment_hf.modeling.config_io import record_calibration
    from sentiment_hf.modeling.loading import load_config

    reason = None
    with staging_folder(folder) as staging:
        config = read_json(folder / CONFIG_FILE)
        weights = staging / "weights"
        weights.mkdir()
        try:
            if temperature != 1:
                fold_temperature(folder, weights, load_config(str(folder)), settings, temperature)
                move_files(weights, staging)
        except CannotFold as error:
            reason = str(error)
        shutil.rmtree(weights)
        if reason is None:
            record_calibration(config, 1.0, report["threshold"], before * temperature)
        else:
            record_calibration(config, temperature, report["threshold"], before, reason)
        report["not_folded"] = reason
        write_json(staging / REPORT_FILE, report)
        try:
            reliability_plot(scored, staging / PLOT_FILE)
        except MissingExtraError as error:
            logger.warning("no plot: %s", error)
        write_json(staging / CONFIG_FILE, config)
        replace_together(staging, folder, last=CONFIG_FILE)


def _logits_and_labels(
    classifier: SentimentClassifier, task: Task, file: str | None, split: str, args: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    from sentiment_hf.data.audit import is_blank
    from sentiment_hf.data.labelled import ReadOptions, load_labelled
    from sentiment_hf.training.folder import saved_split

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
    for name in ("held_out", "fitted_on", "test"):
        if name in report:
            errors = _errors(report[name])
            rows = f"{report['fitted_on' if name == 'held_out' else name]['rows']:,} rows"
            show(f"{name.replace('_', ' ')} ({rows}): calibration error {errors[0]:.4f} -> {errors[1]:.4f}")
    if report["threshold"] is not None:
        show(f"threshold {report['threshold']:.4f}: {report['coverage']:.1%} of the rows used for fitting get a label")
        if report.get("test", {}).get("precision") is not None:
            show(f"on test {report['test']['coverage']:.1%} get a label, {report['test']['precision']:.1%} correctly")
    if report["not_folded"] is None:
        show("The weights are divided by the temperature: every loader gives these probabilities")
    else:
        show(f"The temperature is applied by sentiment_hf alone, not by stock loaders: {report['not_folded']}")
    show(f"Written into {folder}; see {folder / REPORT_FILE}")


def _errors(part: dict[str, Any]) -> list[float]:
    """Calibration error before and after."""
    if "folds" in part:
        return list(part["expected_calibration_error"].values())
    return [part[when]["expected_calibration_error"] for when in ("before", "after")]
