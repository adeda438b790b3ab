"""The error report of a model: a page, tables and a plot (`sentiment-hf evaluate --errors`)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.delimited import write_csv
from sentiment_hf.evaluation.errors import (
    MIN_SLICE_ROWS,
    confusion,
    slices,
    surest_mistakes,
    top_confusions,
)
from sentiment_hf.evaluation.plots import confusion_plot, excerpt, picture, plain, table
from sentiment_hf.tasks import Task
from sentiment_hf.utils.exceptions import MissingExtraError
from sentiment_hf.utils.files import move_files, staging_folder, write_json, write_text

logger = logging.getLogger(__name__)

PAGE, FIGURES, PICTURE = "errors.md", "errors.json", "confusion.png"


def category_name(column: str) -> str:
    """Name the slices of a file's column as no column of the report is named."""
    return f"column {column}"


def write_report(
    folder: Path,
    frame: pd.DataFrame,
    task: Task,
    names: dict[str, str],
    category: str | None = None,
    top_k: int = 10,
    examples: int = 3,
) -> Path:
    """Write all files of a report, whole or not at all; return the page.

    Args:
        folder: for them.
        frame: as `predictions_frame` gives it.
        task: whose labels they are.
        names: of the `model` and of the `data`, for the heading.
        category: a column of the frame whose values are slices, too; see `category_name`.
        top_k: confusions and mistakes that are shown.
        examples: texts for each confusion.
    """
    matrix = confusion(frame, task.labels)
    pairs = top_confusions(frame, top_k, examples)
    sure = surest_mistakes(frame, top_k)
    parts = slices(frame, category)
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
        shares = {"counts": matrix, "share of the truth": by_truth, "share of the prediction": by_prediction}
        figures: dict[str, Any] = {**names, "rows": len(frame)}
        figures |= {"accuracy": float(frame["right"].mean()), "confusions": pairs, "slices": parts}
        write_json(staging / FIGURES, figures)
        write_text(staging / PAGE, page(figures, sure, has_picture, shares))
        move_files(staging, folder, last=PAGE)
    return folder / PAGE


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
        lines.append(f"Truth in rows, predictions in columns: {title}.")
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
