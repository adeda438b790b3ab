"""`sentiment-hf faithfulness`: which of the methods of `explain` names what the model really goes by."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from tqdm import tqdm

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_of_one_label
from sentiment_hf.data.passages import read_passages
from sentiment_hf.evaluation.explanation import choose_targets
from sentiment_hf.evaluation.faithfulness import RANDOM, faithfulness, summarize
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import write_json
from sentiment_hf.option_values import EXPLANATIONS, OCCLUSION
from sentiment_hf.serving.explainer import Explainer


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    if args.rows < 2:
        raise InputError("rows of at least 2", str(args.rows), "An interval of a hundred is narrow enough to read.")
    explainer = Explainer.from_pretrained(args.model, args.backend, args.provider)
    task_of_one_label(explainer.task, "`explain` takes its aspects one by one.")
    methods = list(dict.fromkeys(args.methods or (EXPLANATIONS if explainer.model is not None else [OCCLUSION])))
    for method in methods:
        explainer.check_method(method)
    rows = load_labelled(args.data, explainer.task, ReadOptions.from_args(args))
    rows = rows[~rows["text"].map(is_blank)]
    if len(rows) < 2:
        raise InputError(f"texts in {args.data}", f"{len(rows)} that are not blank", "Check the text column.")
    texts = rows["text"].sample(min(args.rows, len(rows)), random_state=args.seed).tolist()
    found, milliseconds = measure(explainer, texts, methods, args.seed)
    summary = summarize(found, args.seed)
    for method in methods:
        summary[method]["ms_per_text"] = milliseconds[method]
    report = {"model": str(args.model), "backend": explainer.backend, "data": str(args.data), "rows": len(found)}
    if args.output:
        write_json(Path(args.output), report | {"seed": args.seed, "methods": summary})
    show(table(summary, len(found)))
    show("Gain: better than a random order by so much. A gain whose 95 % interval holds 0 is no more than chance.")
    return 0


def measure(
    explainer: Explainer, texts: list[str], methods: list[str], seed: int
) -> tuple[list[dict[str, tuple[float, float]]], dict[str, float]]:
    """Explain the model's label for each text by each method, in the passage that speaks most for it.

    Returns:
        What `faithfulness` says of each text that has content after cleaning, and the median milliseconds that each
        method took.
    """
    generator = np.random.default_rng(seed)
    found, times = [], {method: [] for method in methods}  # type: tuple[list[Any], dict[str, list[float]]]
    for text in tqdm(texts, unit="text", desc="Explaining"):
        _, passages, _ = read_passages(explainer.scorer.tokenizer, text, explainer.scorer.settings)
        if not len(passages[0].content):
            continue
        (target,) = choose_targets(explainer.task, explainer.scorer.logits([text])[0], None, None)
        logits = explainer.judge_passages(passages)
        passage = passages[int(logits[:, target.index].argmax())]
        scores = {}
        for method in methods:
            started = time.perf_counter()
            scores[method] = explainer.attribute(passage, target, method).scores
            times[method].append(1000 * (time.perf_counter() - started))
        found.append(faithfulness(explainer.judge, passage, target, scores, generator))
    if not found:
        raise InputError("texts with content", "none after cleaning", "Check the text column.")
    return found, {method: float(np.median(values)) for method, values in times.items()}


def table(summary: dict[str, dict[str, Any]], rows: int) -> Table:
    """Lay out the summary as a table for a screen."""
    shown = Table(title=f"Faithfulness on {rows:,} texts, in probability; 95 % bootstrap intervals")
    for title in ("method", "comprehensiveness", "gain", "sufficiency", "gain", "ms/text"):
        shown.add_column(title, justify="left" if title == "method" else "right")
    for method, figures in summary.items():
        cells = [method]
        for name in ("comprehensiveness", "sufficiency"):
            cells.append(f"{figures[name]['mean']:.3f}")
            gain = figures.get(f"{name}_gain")
            cells.append("–" if gain is None else f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")
        shown.add_row(*cells, "–" if method == RANDOM else f"{figures['ms_per_text']:.0f}")
    return shown
