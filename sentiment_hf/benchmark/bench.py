"""The benchmark of one checkpoint on every backend, beside other pipelines (`sentiment-hf compress bench`)."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from sentiment_hf.benchmark.measure import (
    LENGTHS,
    Limit,
    accuracy_latency_plot,
    latency,
    measured_limit,
    operations_of,
    padding_share,
    peak_megabytes,
    texts_of_length,
    throughput,
    use_threads,
)
from sentiment_hf.benchmark.systems import Predict, System, systems_of
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_of_one_label
from sentiment_hf.data.tokenization import encode
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.inference.scorer import BATCH_SIZES
from sentiment_hf.modeling.loading import load_config
from sentiment_hf.training.records import environment
from sentiment_hf.utils.exceptions import InputError, MissingExtraError
from sentiment_hf.utils.files import move_files, size_mb, staging_folder, write_json
from sentiment_hf.utils.hardware import usable_threads

logger = logging.getLogger(__name__)

FIGURES, PICTURE = "bench.json", "accuracy_latency.png"


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Time and score every way to run a model; write the figures into `args.output_dir` where one is named.

    Raises:
        InputError: options that cannot be meant, or a model that the benchmark does not know.
    """
    for name, value, least in (
        ("rounds", args.rounds, 1),
        ("threads", args.threads, 1),
        ("max_texts", args.max_texts, 0),
    ):
        if value is not None and value < least:
            raise InputError(f"{name} of at least {least}", str(value), "Leave it out for the default.")
    use_threads(args.threads or usable_threads())
    # Only for its tokenizer, task and text settings; each system loads what it runs.
    ours = SentimentClassifier.from_pretrained(args.model, "torch")
    rows = labelled_rows(args, ours)
    sample = rows[: args.max_texts] if args.max_texts else rows
    texts = sample["text"].tolist()
    opened, failed = open_all(systems_of(args.model, args.smaller, args.provider))
    lengths = [len(ids) for ids in encode(ours.scorer.tokenizer, texts, ours.scorer.settings)["input_ids"]]
    config = load_config(args.model)
    if not hasattr(config, "intermediate_size"):
        remedy = "The machine's limit is computed from BERT's shape."
        raise InputError(f"a model of BERT's shape in {args.model}", config.model_type, remedy)
    limit = measured_limit(config.hidden_size, config.intermediate_size)
    predictors = {system.name: predict for system, predict in opened.items()}
    speed, timed = throughput(predictors, texts, args.rounds)
    by_length: dict[int, dict[str, tuple[float, float]]] = {}
    for tokens in LENGTHS:
        cut = texts_of_length(ours.scorer, rows["text"].tolist(), tokens)
        if cut:
            by_length[tokens] = latency(predictors, cut)
    result: dict[str, Any] = {
        "model": args.model,
        "data": args.data,
        "texts": len(texts),
        "tokens": sum(lengths) / len(lengths),
        "padding_share": padding_share(replace(ours.scorer, batch_size=BATCH_SIZES["int8"]), texts),
        "threads": args.threads or usable_threads(),
        "limit": limit_figures(limit, operations_of(config, lengths)),
        "environment": environment() | {"onnxruntime": onnxruntime_version()},
        "rows": [],
    }
    untimed = rows["text"].tolist()[len(texts) :]
    for system, predict in tqdm(opened.items(), unit="system", desc="Scores and memory"):
        predictions = timed[system.name] + (predict(untimed) if untimed else [])
        right = [prediction == truth for prediction, truth in zip(predictions, rows["name"], strict=True)]
        needed = limit.milliseconds(operations_of(load_config(system.model), lengths))
        latencies = {str(tokens): times[system.name] for tokens, times in by_length.items()}
        result["rows"].append(
            {
                "name": system.name,
                "reviews_per_s": speed[system.name],
                "p50_ms": {tokens: p50 for tokens, (p50, _) in latencies.items()},
                "p99_ms": {tokens: p99 for tokens, (_, p99) in latencies.items()},
                "size_mb": sum(size_mb(file) for file in system.files),
                "peak_mb": peak_megabytes(system, texts),
                "accuracy": sum(right) / len(right),
                "share_of_limit": needed * speed[system.name] / 1000,
            }
        )
    result["rows"] += [{"name": system.name, "reviews_per_s": None, "reason": why} for system, why in failed.items()]
    if args.output_dir:
        write_result(result, Path(args.output_dir))
    return result


def labelled_rows(args: argparse.Namespace, classifier: SentimentClassifier) -> pd.DataFrame:
    """`text` and the `name` of each one's label."""
    remedy = "transformers' pipeline, which everything is held against, returns nothing else."
    task = task_of_one_label(classifier.task, remedy)
    if classifier.scorer.settings.is_sliding:
        raise InputError("a model of one label that reads short texts", "one with sliding windows", remedy)
    rows = load_labelled(args.data, task, ReadOptions.from_args(args))
    rows = rows[~rows["text"].map(is_blank)].reset_index(drop=True)
    if rows.empty:
        raise InputError(f"texts in {args.data}", "none", "Check the text column.")
    rows["name"] = [task.labels[label] for label in rows["label"]]
    return rows


def open_all(systems: list[System]) -> tuple[dict[System, Predict], dict[System, str]]:
    """Those that run, and why the others do not: they get no figure."""
    opened, failed = {}, {}
    for system in systems:
        try:
            opened[system] = system.open()
        except (InputError, MissingExtraError) as error:
            failed[system] = str(error)
            logger.warning("%s: %s", system.name, error)
    return opened, failed


def onnxruntime_version() -> str | None:
    """Of whichever of its two packages is installed."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
    return None


def limit_figures(limit: Limit, operations: float) -> dict[str, Any]:
    """Convert the limit to figures."""
    return {
        "gflops": limit.gflops,
        "precision": limit.precision,
        "operations_per_review": operations,
        "ms_per_review": limit.milliseconds(operations),
    }


def write_result(result: dict[str, Any], folder: Path) -> None:
    """Figures and picture, whole or not at all."""
    with staging_folder(folder) as staging:
        write_json(staging / FIGURES, result)
        try:
            accuracy_latency_plot(result, staging / PICTURE)
        except MissingExtraError as error:
            logger.warning("no picture: %s", error)
        move_files(staging, folder, last=FIGURES)
