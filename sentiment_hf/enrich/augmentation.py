"""Write and filter hard training examples, with a language model or by rule (`sentiment-hf data augment`)."""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from sentiment_hf.config.values import parse_value
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.columns import Columns
from sentiment_hf.data.decontamination import OverlapIndex
from sentiment_hf.data.labelled import ReadOptions, map_labels, task_of_one_label
from sentiment_hf.data.sources import load_file, load_texts
from sentiment_hf.data.splits import matching_key
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.enrich.filters import TextFilter
from sentiment_hf.enrich.generation import BUILT_IN, FOR_ANY_TASK, Written, load_recast, write_texts
from sentiment_hf.enrich.judge import TEMPLATE, Judge, label_words
from sentiment_hf.enrich.llm import open_llm
from sentiment_hf.enrich.rules import RULES
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.tasks import Task, resolve_task, softmax
from sentiment_hf.tasks.labels import MARK_COLUMN, NAMES
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import move_files, staging_folder, write_json, write_text

OUTPUT, REFUSED, REPORT = "augmented.jsonl", "refused.jsonl", "augment.json"
DISAGREES = "the judge says otherwise"


def augment(args: argparse.Namespace) -> str:
    """Write the texts and the report of a run into `args.output_dir`; return what came of it, as a line.

    Raises:
        InputError: options that cannot be meant, or no rows to write from.
    """
    check_options(args)
    folder = Path(args.output_dir)
    rows, task, words = source_rows(args)
    recasts = [load_recast(name, task.labels) for name in templates_asked(args, task)]
    doubtful = [recast.name for recast in recasts if recast.ambiguous]
    if doubtful and not args.model:
        remedy = "Name a classifier that says which rows are ambiguous, or leave the template out."
        raise InputError(f"--model with the template {doubtful[0]}", "none", remedy)
    evaluation = OverlapIndex(evaluation_texts(args), args.shingle_length, args.shingle_length // 2)
    text_filter = TextFilter(evaluation, rows["text"], args.min_length, args.max_length, args.min_han)
    # What is made of a row that stands in the evaluation is a copy of it that no comparison of letters would find.
    leaking = rows["text"].map(lambda text: evaluation.match(matching_key(text)) is not None)
    usable = rows[~leaking]
    if usable.empty:
        raise InputError("rows that stand in no evaluation file", "none", "Give the training rows with --data.")
    sample = (
        usable if args.rows is None or args.rows >= len(usable) else usable.sample(args.rows, random_state=args.seed)
    )
    sample = sample.sort_index()
    with ExitStack() as stack:
        llm = stack.enter_context(open_llm(args, folder)) if args.llm else None
        written = by_rules(sample, args.rules, args.seed)
        if llm is not None:
            written += write_texts(llm, sample, recasts, words, args.seed)
        passed, refused = filtered(written, text_filter)
        if llm is not None and args.judge == "agree":
            judge = Judge(llm, words, Path(args.prompt) if args.prompt else TEMPLATE)
            judge.learn(usable.drop(index=sample.index), args.examples, args.seed)
            passed, disagreed = judged(passed, judge)
            refused += disagreed
        usage = {"model": llm.backend.name, **llm.usage.report(args.prices)} if llm is not None else None
    report = summary(passed, refused, len(sample), usage) | {"rows_in_evaluation": int(leaking.sum())}
    write_results(folder, passed, refused, report, args.weight, usage)
    counts = ", ".join(f"{reason} {count:,}" for reason, count in report["refused"].items())
    return f"{len(passed):,} of {len(written):,} texts pass; refused: {counts or 'none'}; see {folder / OUTPUT}"


def check_options(args: argparse.Namespace) -> None:
    """Raise InputError for options that cannot be meant."""
    if not args.llm and not args.rules:
        raise InputError("a language model or rules", "neither", f"Name --llm, or --rules {' '.join(RULES)}.")
    if args.templates and not args.llm:
        raise InputError("--llm with --templates", "--templates alone", "A language model writes by them.")
    if not 0 < args.weight <= 1:
        raise InputError("a weight above 0 and at most 1", f"{args.weight:g}", "0.5 is the default.")
    if not 0 <= args.ambiguity <= 1:
        raise InputError("an ambiguity from 0 to 1", f"{args.ambiguity:g}", "0.4 is the default.")
    if (args.rows is not None and args.rows < 1) or args.shingle_length < 1 or args.examples < 0:
        found = f"--rows {args.rows} --shingle_length {args.shingle_length} --examples {args.examples}"
        raise InputError("rows and shingle_length of at least 1, examples of at least 0", found, "Fix these.")


def evaluation_texts(args: argparse.Namespace) -> Iterator[Any]:
    """Yield the texts that are measured on, from the column that was named, or a usual one where a file lacks it."""
    for file in args.evaluation:
        splits, form = ("validation", "test"), TableFormat.from_args(args)
        try:
            yield from load_texts(file, None, splits, args.text_column, form)
        except InputError:
            if args.text_column is None:
                raise
            yield from load_texts(file, None, splits, None, form)


def templates_asked(args: argparse.Namespace, task: Task) -> Sequence[str]:
    """Names of templates: those asked for, else all of the package's that task and rows can serve."""
    if args.templates or not args.llm:
        return list(args.templates or ())
    suited = BUILT_IN if {"negative", "positive"} <= set(task.labels) else FOR_ANY_TASK
    return [name for name in suited if name != "reasons" or args.model]


def source_rows(args: argparse.Namespace) -> tuple[pd.DataFrame, Task, dict[str, str]]:
    """Training rows: `row`, `text`, `label` and `classifier` (names), `ambiguous`; the task, and its labels' words."""
    raw = load_file(args.data, Columns(args.text_column, args.label_column), TableFormat.from_args(args))
    classifier = SentimentClassifier.from_pretrained(args.model) if args.model else None
    options = ReadOptions.from_args(args)
    # Without a model `labels` say what the task is; a model's own labels are what they have to lead to.
    given = None if classifier is not None else options.labels
    task = classifier.task if classifier is not None else resolve_task(args.task, given, raw["label"], args.data)
    task = task_of_one_label(task, "Templates write for one label.")
    words = label_words(task.labels, parse_value(args.label_words, "label_words", (dict,)))
    labels = options.labels if classifier is not None else None
    mapped = map_labels(raw, task, args.data, labels, options.label_values, training=classifier is None)
    mapped = mapped[~mapped["text"].map(is_blank)]
    if mapped.empty:
        raise InputError(f"texts in {args.data}", "only blank ones", "Check the text column.")
    names = [task.labels[label] for label in mapped["label"]]
    rows = pd.DataFrame({"row": mapped["doc_id"], "text": mapped["text"], "label": names, "ambiguous": False})
    rows["classifier"] = rows["label"]
    if classifier is not None:
        logits = classifier.scorer.logits(rows["text"].tolist()) / classifier.calibration.temperature
        second, first = np.sort(softmax(logits), axis=1)[:, -2:].T
        rows["classifier"] = [task.labels[label] for label in logits.argmax(axis=1)]
        rows["ambiguous"] = first - second <= args.ambiguity
    return rows.reset_index(drop=True), task, words


def by_rules(rows: pd.DataFrame, names: Sequence[str], seed: int) -> list[Written]:
    """One text for each row and rule; rows that a rule finds nothing to change in have none."""
    written = []
    for row, text, label in tqdm(list(zip(rows["row"], rows["text"], rows["label"], strict=True)), "Rules", unit="row"):
        for name in names:
            changed = RULES[name](text, random.Random(f"{seed}:{name}:{row}"))
            if changed != text:
                written.append(Written(row, changed, label, name, ""))
    return written


def filtered(written: Sequence[Written], text_filter: TextFilter) -> tuple[list[Written], list[tuple[Written, str]]]:
    """Texts that pass, and the others with the reason."""
    passed, refused = [], []
    for item in written:
        reason = item.failed or text_filter.refuse(item.text)
        if reason:
            refused.append((item, reason))
        else:
            passed.append(item)
    return passed, refused


def judged(written: Sequence[Written], judge: Judge) -> tuple[list[Written], list[tuple[Written, str]]]:
    """Texts whose label the judge gives them, too, and the others with what it says."""
    passed, refused = [], []
    verdicts = judge.verdicts([item.text for item in written], desc="Judging what was written")
    for item, verdict in zip(written, verdicts, strict=True):
        if verdict.label == item.label:
            passed.append(item)
        else:
            refused.append((item, DISAGREES if verdict.label is not None else verdict.reason))
    return passed, refused


def summary(
    passed: Sequence[Written], refused: Sequence[tuple[Written, str]], sources: int, usage: dict[str, Any] | None
) -> dict[str, Any]:
    """Collect the figures of a run."""
    return {
        "source_rows": sources,
        "written": len(passed) + len(refused),
        "passed": len(passed),
        "refused": dict(Counter(reason for _, reason in refused).most_common()),
        "by_template": dict(Counter(item.template for item in passed).most_common()),
        "by_label": dict(Counter(item.label for item in passed).most_common()),
        "usage": usage,
    }


def write_results(
    folder: Path,
    passed: Sequence[Written],
    refused: Sequence[tuple[Written, str]],
    report: dict[str, Any],
    weight: float,
    usage: dict[str, Any] | None,
) -> None:
    """All files of a run, whole or not at all."""

    def record(item: Written) -> dict[str, Any]:
        by_model = bool(item.prompt_hash)
        origin = {"source_row": int(item.row) + 1, "template": item.template, "prompt_hash": item.prompt_hash}
        model = usage["model"] if usage is not None and by_model else "rule"
        said = {"text": item.text, "label": item.label, MARK_COLUMN: NAMES, "weight": weight}
        return said | origin | {"model": model, "explanation": item.explanation}

    with staging_folder(folder) as staging:
        write_text(staging / OUTPUT, _lines([record(item) for item in passed]))
        write_text(staging / REFUSED, _lines([record(item) | {"refused": reason} for item, reason in refused]))
        write_json(staging / REPORT, report)
        move_files(staging, folder, last=REPORT)


def _lines(records: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
