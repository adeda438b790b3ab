"""`sentiment-hf compare`: two models on the same rows, whether they differ by more than chance, and where."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_of_one_label
from sentiment_hf.data.spreadsheets import write_csv
from sentiment_hf.evaluation.comparison import BROKEN, MENDED, changed_rows, compare
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import move_files, staging_folder, write_json
from sentiment_hf.serving.predictor import SentimentClassifier
from sentiment_hf.tasks import Task

FIGURES, CHANGED = "compare.json", "changed.csv"
_SHOWN = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    a = SentimentClassifier.from_pretrained(args.a, args.backend, args.provider)
    b = SentimentClassifier.from_pretrained(args.b, args.backend_b or args.backend, args.provider)
    remedy = "`evaluate` has the scores of each aspect."
    task = task_of_one_label(a.task, remedy)
    order = _order(task, task_of_one_label(b.task, remedy))
    rows = load_labelled(args.data, task, ReadOptions.from_args(args))
    rows = rows[~rows["text"].map(is_blank)].reset_index(drop=True)
    if rows.empty:
        raise InputError(f"texts in {args.data}", "only blank ones", "Check the text column.")
    truth = rows["label"].to_numpy(dtype=int)
    # Both in the order of the first one's labels.
    logits = a.scorer.logits(rows["text"]), b.scorer.logits(rows["text"])[:, order]
    tests = compare(truth, logits[0].argmax(axis=1), logits[1].argmax(axis=1), len(task.labels), args.seed)
    scaled = logits[0] / a.calibration.temperature, logits[1] / b.calibration.temperature
    changed = changed_rows(rows, *scaled, task.labels)
    named = {"a": f"{args.a} ({a.backend})", "b": f"{args.b} ({b.backend})"}
    report: dict[str, Any] = {**named, "data": str(args.data), "rows": len(rows)}
    report |= {"changed": len(changed), "mended": int((changed["change"] == MENDED).sum())}
    report |= {"broken": int((changed["change"] == BROKEN).sum()), **tests}
    show(table(report))
    show(
        f"{report['changed']:,} of {len(rows):,} answers differ: {report['mended']:,} are right in b alone, "
        f"{report['broken']:,} in a alone."
    )
    if args.output_dir:
        folder = Path(args.output_dir)
        with staging_folder(folder) as staging:
            write_csv(changed, staging / CHANGED)
            write_json(staging / FIGURES, report)
            move_files(staging, folder, last=FIGURES)
        show(f"See {folder / CHANGED}")
    return 0


def _order(a: Task, b: Task) -> np.ndarray:
    """Where the labels of the first stand among those of the second."""
    if set(a.labels) != set(b.labels):
        found = f"{', '.join(a.labels)} and {', '.join(b.labels)}"
        raise InputError("two models of the same labels", found, "Compare models of one task.")
    return np.array([b.label2id[label] for label in a.labels])


def table(report: dict[str, Any]) -> Table:
    """Lay out the tests as a table for a screen."""
    shown = Table(title=f"a: {report['a']}\nb: {report['b']}\n{report['rows']:,} rows of {report['data']}")
    for title in ("score", "a", "b", "b - a", "95 % interval", "p-value", "test"):
        shown.add_column(title, justify="left" if title in ("score", "test") else "right")
    for name, title in _SHOWN.items():
        figures = report[name]
        between = f"{100 * figures['low']:+.2f} to {100 * figures['high']:+.2f}" if "low" in figures else "–"
        test = "paired bootstrap" if "low" in figures else "McNemar, exact"
        cells = [f"{100 * figures[system]:.2f}" for system in ("a", "b")]
        cells += [f"{100 * figures['difference']:+.2f}", between, f"{figures['p_value']:.4f}"]
        shown.add_row(title, *cells, test)
    return shown
