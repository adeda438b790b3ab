"""Ask a language model about labels that a classifier disagrees with (`sentiment-hf data judge`)."""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.config.values import parse_value
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.delimited import write_csv
from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_of_one_label
from sentiment_hf.data.splits import matching_key
from sentiment_hf.enrich.judge import TEMPLATE, Judge, agreement, label_words, majority
from sentiment_hf.enrich.llm import LanguageModel, open_llm
from sentiment_hf.enrich.review import row_id
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.tasks import Task, softmax
from sentiment_hf.tasks.labels import MARK_COLUMN, NAMES
from sentiment_hf.utils.console import show
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import move_files, staging_folder, write_json

VERDICTS, REPORT = "verdicts.csv", "judge.json"


def judge_labels(args: argparse.Namespace) -> None:
    """Ask for verdicts, write them into `args.output_dir` and show how far they agree with whom.

    Raises:
        InputError: options that cannot be meant, or no rows to judge.
    """
    if not 0 <= args.threshold <= 1:
        raise InputError("a threshold from 0 to 1", f"{args.threshold:g}", "0.5 is the default, 0 asks for all rows.")
    if args.repeats < 1 or args.examples < 0 or (args.limit is not None and args.limit < 1):
        found = f"--repeats {args.repeats} --examples {args.examples} --limit {args.limit}"
        raise InputError("repeats and a limit of at least 1, examples of at least 0", found, "Fix these.")
    folder = Path(args.output_dir)
    classifier = SentimentClassifier.from_pretrained(args.model, args.backend, args.provider)
    task = task_of_one_label(classifier.task, "`data clean` knows aspects and ratings.")
    words = label_words(task.labels, parse_value(args.label_words, "label_words", (dict,)))
    rows = classified_rows(classifier, task, args)
    asked = rows[rows["p_label"] <= 1 - args.threshold].sort_values("p_label", kind="stable").head(args.limit)
    if asked.empty:
        raise InputError("rows that the classifier disagrees with", "none", "Lower --threshold.")
    with open_llm(args, folder) as llm:
        judge = Judge(llm, words, Path(args.prompt) if args.prompt else TEMPLATE)
        # A text that stands twice may be asked about under one label and must not be shown under the other.
        keys = rows["text"].map(matching_key)
        judge.learn(rows[~keys.isin(set(keys[asked.index]))], args.examples, args.seed)
        texts = asked["text"].tolist()
        repeats = [judge.verdicts(texts, number, f"Judging, time {number + 1}") for number in range(args.repeats)]
        table, report = findings(asked, repeats)
        report |= {"rows_of_the_file": len(rows), "threshold": args.threshold, "usage": usage(llm, args)}
    with staging_folder(folder) as staging:
        write_csv(table, staging / VERDICTS)
        write_json(staging / REPORT, report)
        move_files(staging, folder, last=REPORT)
    show_report(report, folder)


def classified_rows(classifier: SentimentClassifier, task: Task, args: argparse.Namespace) -> pd.DataFrame:
    """Rows with text: `id`, `text`, `label` and `classifier` (names), and `p_label`."""
    rows = load_labelled(args.data, task, ReadOptions.from_args(args))
    labelled = zip(rows["doc_id"], rows["text"], rows["label"], strict=True)
    rows["id"] = [row_id(row, text, label) for row, text, label in labelled]
    rows = rows[~rows["text"].map(is_blank)].reset_index(drop=True)
    if rows.empty:
        raise InputError(f"texts in {args.data}", "only blank ones", "Check the text column.")
    shares = softmax(classifier.scorer.logits(rows["text"].tolist()) / classifier.calibration.temperature)
    given = rows["label"].to_numpy(dtype=int)
    return pd.DataFrame(
        {
            "id": rows["id"],
            "text": rows["text"],
            "label": [task.labels[label] for label in given],
            MARK_COLUMN: NAMES,
            "classifier": [task.labels[label] for label in shares.argmax(axis=1)],
            "p_label": shares[range(len(rows)), given],
        }
    )


def findings(asked: pd.DataFrame, repeats: list[Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Build the table of verdicts, and tell how far the judge agrees with whom."""
    decided = [majority(verdicts) for verdicts in zip(*repeats, strict=True)]
    table = asked.assign(
        verdict=[verdict.label for verdict in decided],
        confidence=[verdict.confidence for verdict in decided],
        reason=[verdict.reason for verdict in decided],
    )
    said = [verdict.label for verdict in decided]
    report: dict[str, Any] = {
        "asked": len(asked),
        "abstained": sum(label is None for label in said),
        "with_labels": agreement(said, asked["label"].tolist()),
        "with_classifier": agreement(said, asked["classifier"].tolist()),
    }
    if len(repeats) > 1:
        for number, verdicts in enumerate(repeats, start=1):
            table[f"verdict_{number}"] = [verdict.label for verdict in verdicts]
        said_each = [[verdict.label for verdict in verdicts] for verdicts in repeats]
        pairs = list(combinations(said_each, 2))
        report["with_itself"] = agreement(
            [label for first, _ in pairs for label in first], [label for _, second in pairs for label in second]
        )
    return table, report


def usage(llm: LanguageModel, args: argparse.Namespace) -> dict[str, Any]:
    return {"model": llm.backend.name, **llm.usage.report(args.prices)}


def show_report(report: dict[str, Any], folder: Path) -> None:
    show(
        f"{report['asked']:,} of {report['rows_of_the_file']:,} rows judged, {report['abstained']:,} without a verdict"
    )
    for name, what in (
        ("with_labels", "labels"),
        ("with_classifier", "the classifier"),
        ("with_itself", "itself, asked again"),
    ):
        found = report.get(name)
        if found and found["rows"]:
            kappa = "–" if found["kappa"] is None else f"{found['kappa']:.3f}"
            show(f"agrees with {what} on {found['equal']:.1%} of {found['rows']:,} rows, Cohen's kappa {kappa}")
    show(f"See {folder / VERDICTS}")
