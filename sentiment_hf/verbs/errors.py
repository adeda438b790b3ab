"""`sentiment-hf errors`: where a model is wrong, as a page, tables and a picture."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.columns import as_text, pick_column
from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_of_one_label
from sentiment_hf.data.spreadsheets import write_csv
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tables import read_table
from sentiment_hf.evaluation.errors import (
    MIN_SLICE_ROWS,
    confusion,
    predictions_frame,
    slices,
    surest_mistakes,
    top_confusions,
)
from sentiment_hf.evaluation.markdown import excerpt, picture, plain, table
from sentiment_hf.evaluation.pictures import confusion_plot
from sentiment_hf.exceptions import InputError, MissingExtraError
from sentiment_hf.files import move_files, staging_folder, write_json, write_text
from sentiment_hf.serving.predictor import SentimentClassifier
from sentiment_hf.tasks import Task, softmax

logger = logging.getLogger(__name__)

PAGE, FIGURES, PICTURE = "errors.md", "errors.json", "confusion.png"


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    if args.top_k < 1 or args.examples < 0:
        found = f"--top_k {args.top_k} --examples {args.examples}"
        raise InputError("top_k of at least 1 and examples of at least 0", found, "10 and 3 are the defaults.")
    classifier = SentimentClassifier.from_pretrained(args.model, args.backend, args.provider)
    task = task_of_one_label(classifier.task, "`evaluate` has the scores of each aspect.")
    rows = load_labelled(args.data, task, ReadOptions.from_args(args))
    if args.category is not None:
        table = read_table(args.data, TableFormat.from_args(args))
        column = pick_column(table, args.category, (), "category", args.data, option="category")
        # Under a name that no column of the report has.
        rows[category_name(args.category)] = [as_text(value) or "–" for value in table[column].iloc[rows["doc_id"]]]
    rows = rows[~rows["text"].map(is_blank)].reset_index(drop=True)
    if rows.empty:
        raise InputError(f"texts in {args.data}", "only blank ones", "Check the text column.")
    logits = classifier.scorer.logits(rows["text"]) / classifier.calibration.temperature
    frame = predictions_frame(rows, softmax(logits), task.labels)
    folder = Path(args.output_dir)
    write_report(folder, frame, task, args)
    show(f"{int((~frame['right']).sum()):,} of {len(frame):,} rows are wrong; see {folder / PAGE}")
    return 0


def category_name(column: str) -> str:
    return f"column {column}"


def write_report(folder: Path, frame: pd.DataFrame, task: Task, args: argparse.Namespace) -> None:
    """All files of a report, whole or not at all."""
    matrix = confusion(frame, task.labels)
    pairs = top_confusions(frame, args.top_k, args.examples)
    sure = surest_mistakes(frame, args.top_k)
    parts = slices(frame, None if args.category is None else category_name(args.category))
    with staging_folder(folder) as staging:
        has_picture = True
        try:
            confusion_plot(matrix, staging / PICTURE)
        except MissingExtraError as error:
            has_picture = False
            logger.warning("no picture: %s", error)
        by_truth = matrix.div(matrix.sum(axis=1).clip(lower=1), axis=0)
        by_prediction = matrix.div(matrix.sum(axis=0).clip(lower=1), axis=1)
        for name, counts in (("", matrix), ("_by_truth", by_truth), ("_by_prediction", by_prediction)):
            write_csv(counts.reset_index(), staging / f"confusion{name}.csv")
        mistakes = frame[~frame["right"]].sort_values("confidence", ascending=False)
        write_csv(mistakes, staging / "mistakes.csv")
        shares = {"counts": matrix, "share of the truth": by_truth, "share of the answer": by_prediction}
        figures = {"model": str(args.model), "data": Path(args.data).name, "rows": len(frame)}
        figures |= {"accuracy": float(frame["right"].mean()), "confusions": pairs, "slices": parts}
        write_json(staging / FIGURES, figures)
        write_text(staging / PAGE, page(figures, sure, has_picture, shares))
        move_files(staging, folder, last=PAGE)


def page(figures: dict[str, Any], sure: pd.DataFrame, has_picture: bool, shares: dict[str, pd.DataFrame]) -> str:
    """Write the report as Markdown.

    Args:
        figures: what `errors.json` holds.
        sure: the surest mistakes.
        has_picture: whether the confusion matrix was drawn.
        shares: title -> a confusion matrix, as counts or as shares.
    """
    lines = [
        f"# Errors of {plain(figures['model'])} on {plain(figures['data'])}",
        f"{figures['rows']:,} rows, accuracy {figures['accuracy']:.2%}.",
    ]
    if has_picture:
        lines.append(picture("confusion matrix", PICTURE))
    lines.append("## What is taken for what")
    for title, matrix in shares.items():
        cells = [
            [str(truth), *(f"{value:,}" if title == "counts" else f"{value:.1%}" for value in row)]
            for truth, row in zip(matrix.index, matrix.to_numpy().tolist(), strict=True)
        ]
        lines.append(f"Truth in rows, answers in columns: {title}.")
        lines.append(table(["", *map(str, matrix.columns)], cells))
    lines.append(
        table(
            ["truth", "prediction", "rows", "share of the truth", "examples"],
            [
                [
                    pair["truth"],
                    pair["prediction"],
                    f"{pair['rows']:,}",
                    f"{pair['share_of_truth']:.1%}",
                    " / ".join(excerpt(text) for text in pair["examples"]),
                ]
                for pair in figures["confusions"]
            ],
        )
    )
    lines.append("## Slices, the worst first")
    lines.append(f"Slices of fewer than {MIN_SLICE_ROWS} rows come last: chance alone moves them.")
    lines.append(
        table(
            ["by", "slice", "rows", "accuracy", "difference"],
            [
                [
                    part["by"],
                    part["slice"],
                    f"{part['rows']:,}",
                    f"{part['accuracy']:.2%}",
                    f"{100 * part['difference']:+.2f}",
                ]
                for part in figures["slices"]
            ],
        )
    )
    lines.append("## The surest mistakes")
    lines.append("Wrong labels gather here as well: look before you blame the model.")
    lines.append(
        table(
            ["confidence", "truth", "prediction", "text"],
            [[f"{row.confidence:.3f}", row.truth, row.prediction, excerpt(row.text)] for row in sure.itertuples()],
        )
    )
    return "\n\n".join(lines) + "\n"
