"""`sentiment-hf evaluate`: a saved model on a labelled file."""

from __future__ import annotations

import argparse
import hashlib
import logging
from pathlib import Path
from typing import Any

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_with_rows
from sentiment_hf.evaluation.recorded import rows_fingerprint
from sentiment_hf.evaluation.report import METRICS_FILE, metrics_table, system_row, write_metrics
from sentiment_hf.evaluation.scores import chunk_scores
from sentiment_hf.evaluation.timing import milliseconds_per_review
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import read_json, size_mb
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.option_values import BACKENDS
from sentiment_hf.serving.hub import hub_file
from sentiment_hf.serving.predictor import SentimentClassifier
from sentiment_hf.training.folder import RECIPE_FILE

logger = logging.getLogger(__name__)

SYSTEMS = {backend: "fp32" if backend == "torch" else backend for backend in BACKENDS}


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    if args.output_dir:
        _earlier(Path(args.output_dir))
    classifier = SentimentClassifier.from_pretrained(args.model, args.backend, args.provider)
    task = task_with_rows(classifier.task)
    rows = load_labelled(args.data, task, ReadOptions.from_args(args))
    blank = rows["text"].map(is_blank)
    rows = rows[~blank]
    if rows.empty:
        raise InputError(f"texts in {args.data}", "only blank ones", "Check the text column.")
    scorer = classifier.scorer
    documents = scorer.documents(rows["text"].tolist()) if scorer.settings.is_sliding else None
    scores = task.scores(scorer.logits(rows["text"]) if documents is None else documents.logits, rows["label"])
    times = milliseconds_per_review({"it": classifier}, rows["text"])
    row = system_row(scores, size_mb(classifier.file) if classifier.file else 0.0, times["it"], None)
    if documents is not None:
        row["chunk_level"] = chunk_scores(documents, rows["label"], task)
    row |= {"backend": classifier.backend, "providers": list(classifier.providers)}

    metrics: dict[str, Any] = {"name": Path(args.model).resolve().name, "task": task.name, "data": Path(args.data).name}
    metrics |= {"blank_rows_left_out": int(blank.sum()), "rows_fingerprint": rows_fingerprint(rows, task)}
    metrics |= {"weights": _weights_digest(args.model), **rows.attrs.get("labels", {})}
    folder = _folder(args, metrics)
    # Another backend with the same rows and weights joins what is there, so that the two can be compared.
    before = _earlier(folder)
    if _is_same(before, metrics):
        metrics = before
    elif before:
        logger.warning("%s was of other rows or other weights and is replaced", folder / METRICS_FILE)
    metrics[SYSTEMS[classifier.backend]] = row
    path = write_metrics(folder, metrics)
    show(metrics_table([metrics]))
    show(f"Written to {path}")
    return 0


def _weights_digest(model: str) -> str:
    """Tells whether two evaluations were of the same weights: their content in a folder, or the commit of a Hub id."""
    folder = Path(resolve_model(model))
    if not folder.is_dir():
        return hub_file(str(folder), ["config.json"], None).parent.name
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def _earlier(folder: Path) -> dict[str, Any]:
    """Read what an evaluation left in a folder; empty where none did.

    Raises:
        InputError: the folder is that of a run, whose figures would be lost.
    """
    if (folder / RECIPE_FILE).is_file():
        remedy = "Name another one, or leave it out."
        raise InputError("a folder for the evaluation with --output_dir", f"a training run at {folder}", remedy)
    try:
        before = read_json(folder / METRICS_FILE)
    except (OSError, ValueError, RecursionError):
        return {}
    return before if isinstance(before, dict) else {}


def _is_same(before: dict[str, Any], metrics: dict[str, Any]) -> bool:
    return all(before.get(key) == value for key, value in metrics.items())


def _folder(args: argparse.Namespace, metrics: dict[str, Any]) -> Path:
    if args.output_dir:
        return Path(args.output_dir)
    name = Path(args.data).name.partition(".")[0]
    model = Path(args.model)
    # Not into the package, where a packaged model lives.
    home = model if model.is_dir() else Path("runs") / args.model.replace("/", "--")
    folder = home / "evaluation" / name
    before = _earlier(folder)
    # Another file of the same name has a folder of its own.
    of_other_rows = before.get("rows_fingerprint", metrics["rows_fingerprint"]) != metrics["rows_fingerprint"]
    return folder.with_name(f"{name}-{metrics['rows_fingerprint'][:8]}") if of_other_rows else folder
