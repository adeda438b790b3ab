"""`sentiment-hf evaluate`: a saved model on a labelled file."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_with_rows
from sentiment_hf.evaluation.report import METRICS_FILE, metrics_table, read_metrics, system_row, write_metrics
from sentiment_hf.evaluation.scores import chunk_scores, task_scores
from sentiment_hf.evaluation.timing import milliseconds_per_review
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import size_mb
from sentiment_hf.option_values import BACKENDS
from sentiment_hf.serving.predictor import SentimentClassifier

SYSTEMS = {backend: "fp32" if backend == "torch" else backend for backend in BACKENDS}


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    classifier = SentimentClassifier.from_pretrained(args.model, args.backend, args.provider)
    task = task_with_rows(classifier.task)
    rows = load_labelled(args.data, task, ReadOptions.from_args(args))
    blank = rows["text"].map(is_blank)
    rows = rows[~blank]
    if rows.empty:
        raise InputError(f"texts in {args.data}", "only blank ones", "Check the text column.")
    scorer = classifier.scorer
    documents = scorer.documents(rows["text"].tolist()) if scorer.settings.is_sliding else None
    scores = task_scores(scorer.logits(rows["text"]) if documents is None else documents.logits, rows["label"], task)
    times = milliseconds_per_review({"it": classifier}, rows["text"])
    row = system_row(scores, size_mb(classifier.file) if classifier.file else 0.0, times["it"], None)
    if documents is not None:
        row["chunk_level"] = chunk_scores(documents, rows["label"], task)
    row |= {"backend": classifier.backend, "providers": list(classifier.providers)}

    folder = _folder(args)
    metrics: dict[str, Any] = {"name": Path(args.model).name, "task": task.name, "split": str(args.data)}
    metrics |= {"blank_rows_left_out": int(blank.sum()), "rows_fingerprint": _fingerprint(rows)}
    # Another backend on the same file joins what is there, so that the two can be compared.
    if (folder / METRICS_FILE).is_file():
        before = read_metrics(folder)
        if all(before.get(key) == value for key, value in metrics.items()):
            metrics = before
    metrics[SYSTEMS[classifier.backend]] = row
    path = write_metrics(folder, metrics)
    show(metrics_table([metrics]))
    show(f"Written to {path}")
    return 0


def _fingerprint(rows: pd.DataFrame) -> str:
    """Tells whether two evaluations saw the same rows."""
    content = rows[["text", "label"]].to_json(orient="values")
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _folder(args: argparse.Namespace) -> Path:
    if args.output_dir:
        return Path(args.output_dir)
    name = Path(args.data).name.partition(".")[0]
    model = Path(args.model)
    # Not into the package, where a packaged model lives.
    home = model if model.is_dir() else Path("runs") / args.model.replace("/", "--")
    return home / "evaluation" / name
