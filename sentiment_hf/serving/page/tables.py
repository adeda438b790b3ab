"""A file of texts in, the same file with predictions out, safe to open in a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.columns import TEXT_COLUMNS, pick_column
from sentiment_hf.data.spreadsheets import write_csv
from sentiment_hf.data.tables import read_table
from sentiment_hf.data.workbooks import write_workbook
from sentiment_hf.exceptions import InputError
from sentiment_hf.serving.page.models import PageModel
from sentiment_hf.serving.prediction_files import free_names

# Endings of files that the page takes.
WORKBOOKS = (".xlsx", ".xls")
ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", *WORKBOOKS)
MAX_ROWS = 20_000
ROWS_PER_BLOCK = 64


def read_texts(path: Path, text_column: str = "") -> tuple[pd.DataFrame, str]:
    """Read a table that was uploaded, and find the name of its text column.

    Raises:
        InputError: no table, no such column, or too many rows; the message names the file without its folder.
    """
    try:
        table = read_table(path)
        column = pick_column(table, text_column.strip() or None, TEXT_COLUMNS, "text", path.name)
    except InputError as error:
        raise InputError(
            error.expected.replace(str(path), path.name), error.found.replace(str(path), path.name), error.remedy
        ) from None
    if len(table) > MAX_ROWS:
        raise InputError(f"at most {MAX_ROWS:,} rows", f"{len(table):,}", "Split the file.")
    return table, column


def with_predictions(
    model: PageModel, table: pd.DataFrame, column: str, progress: Callable[[int, int], Any]
) -> pd.DataFrame:
    """Return the table with the model's predictions in columns of their own.

    Args:
        model: its turn is taken block by block.
        table: any columns.
        column: the one with the texts.
        progress: told `(rows done, rows in all)` before each block.
    """
    texts = table[column].tolist()
    rows: list[dict[str, Any]] = []
    for start in range(0, len(texts), ROWS_PER_BLOCK):
        progress(start, len(texts))
        block = texts[start : start + ROWS_PER_BLOCK]
        predictions = model.aspects(block) if model.has_aspects else model.labels(block, top_k=1)
        rows += [prediction.row() for prediction in predictions]
    names = free_names(model.classifier.task.prediction_columns(), table.columns)
    return table.assign(**{free: [row.get(name) for row in rows] for name, free in names.items()})


def write_table(table: pd.DataFrame, path: Path, folder: Path) -> Path:
    """Write predictions as the kind of file that was uploaded: a workbook for a workbook, else csv."""
    name = f"{path.stem}-predictions"
    if path.suffix.lower() in WORKBOOKS:
        return write_workbook(table, folder / f"{name}.xlsx")
    return write_csv(table, folder / f"{name}.csv")
