"""Write rows with their predictions to csv, tsv, jsonl, parquet and xlsx files, block by block."""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_hf.batch.row_blocks import RowBlocks, arrow_column
from sentiment_hf.data.delimited import ENCODING, cell_text, csv_text
from sentiment_hf.data.workbooks import WorkbookWriter, check_cell, check_rows, require_writer
from sentiment_hf.tasks import AnyPrediction, Task
from sentiment_hf.tasks.labels import MARK_COLUMN, NAMES
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

OUTPUT_KINDS = ("csv", "tsv", "jsonl", "parquet", "xlsx", "csv.gz", "tsv.gz", "jsonl.gz")
# Rows of one group in a parquet file; readers fetch a group at a time, and hardly any pay for many small ones.
ROWS_PER_GROUP = 8192
_NUMBERS = {"probability": pa.float64(), "expected_rating": pa.float64(), "predicted_rating": pa.int64()}


class PredictionFile(Protocol):
    """Takes blocks of rows with their predictions; used in a `with`, at whose end the file is whole, or, after an
    error, ends with a whole row."""

    def write(self, block: pd.DataFrame, predictions: list[AnyPrediction]) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def output_kind(path: Path) -> str:
    """Tell the kind of an output file by its ending.

    Raises:
        InputError: an ending that is not written.
    """
    found = next((kind for kind in OUTPUT_KINDS if path.name.lower().endswith(f".{kind}")), None)
    if found is None:
        expected = f"--output ending in {', '.join('.' + kind for kind in OUTPUT_KINDS)}"
        raise InputError(expected, str(path), "Choose one of these endings.")
    return found


def free_names(names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Choose a name for each column of predictions that no column of the table has: `probability_2` where there is one.

    >>> free_names(("predicted_label", "reason"), ("text", "reason"))
    {'predicted_label': 'predicted_label', 'reason': 'reason_2'}
    """
    used = set(taken)
    free: dict[str, str] = {}
    for name in names:
        choices = (name if count == 1 else f"{name}_{count}" for count in itertools.count(1))
        free[name] = next(choice for choice in choices if choice not in used)
        used.add(free[name])
    return free


def say_renamed(kind: str, columns: Sequence[str], text_column: str, task: Task) -> None:
    """Log which parts of predictions get other names in a file, as the table has columns of their usual ones.

    Args:
        kind: of the file, one of `OUTPUT_KINDS`.
        columns: of the table.
        text_column: of these.
        task: of the classifier.
    """
    usual = task.prediction_columns()
    if kind.startswith("jsonl"):
        usual = tuple(task.no_prediction(None, "").to_dict())
        columns = [name for name in columns if name != text_column]
    renamed = [f"{name} is written as {free}" for name, free in free_names(usual, columns).items() if name != free]
    if renamed:
        logger.warning("the table has columns with the names of predictions, which stay: %s", ", ".join(renamed))


def check_fits_workbook(source: RowBlocks) -> None:
    """Raise InputError where a table has more rows, or longer texts, than a sheet holds, and MissingExtraError where
    workbooks cannot be written."""
    require_writer()
    check_rows(source.rows)
    for block in source.blocks(ROWS_PER_GROUP):
        for name in block:
            for cell in block[name].tolist():
                check_cell(cell_text(cell))


def prediction_file(
    path: Path, kind: str, schema: pa.Schema, task: Task, text_column: str, for_people: bool = False
) -> PredictionFile:
    """Open a file for predictions.

    Args:
        path: replaced if it is there.
        kind: one of `OUTPUT_KINDS`. All have the columns of the input and those of the predictions; jsonl has `text` in
            place of the text column and what the prediction's `to_dict()` says. A column of the input is never
            overwritten: see `free_names`. In csv and tsv a cell that a spreadsheet program would calculate is guarded.
        schema: of the input.
        task: of the classifier.
        text_column: of the input.
        for_people: whether a csv begins with the mark by which spreadsheet programs know UTF-8.

    Raises:
        MissingExtraError: of xlsx, where the extra `excel` is not installed.
    """
    if kind.startswith("jsonl"):
        return _TextFile(path, _JsonLines(schema.names, text_column), is_zipped=kind.endswith(".gz"))
    columns = free_names(task.prediction_columns(), schema.names)
    if kind == "parquet":
        return _ParquetFile(path, schema, columns)
    if kind == "xlsx":
        return _WorkbookFile(path, schema, columns)
    formatted = _delimited("," if kind.startswith("csv") else "\t", columns)
    return _TextFile(path, formatted, kind.endswith(".gz"), ENCODING if kind == "csv" and for_people else "utf-8")


class _TextFile:
    def __init__(
        self,
        path: Path,
        formatted: Callable[[pd.DataFrame, list[AnyPrediction], bool], str],
        is_zipped: bool,
        encoding: str = "utf-8",
    ) -> None:
        self._formatted, self._is_zipped, self._encoding = formatted, is_zipped, encoding
        self._file = path.open("wb", buffering=0)
        self._whole = 0
        self._is_first = True

    def write(self, block: pd.DataFrame, predictions: list[AnyPrediction]) -> None:
        # A byte order mark stands at the beginning of the file alone.
        encoding = self._encoding if self._is_first else "utf-8"
        text = self._formatted(block, predictions, self._is_first).encode(encoding, "replace")
        # A gzip file may consist of several; each block is one, so that the file can end after any.
        rest = memoryview(gzip.compress(text, mtime=0) if self._is_zipped else text)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._whole, self._is_first = self._file.tell(), False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A full disk or a second Ctrl-C may cut a write short.
        with self._file:
            if error is not None:
                self._file.truncate(self._whole)
            else:
                os.fsync(self._file.fileno())


class _ParquetFile:
    def __init__(self, path: Path, schema: pa.Schema, columns: Mapping[str, str]) -> None:
        for name, free in columns.items():
            is_score = name.startswith(("probability_", "score"))
            schema = schema.append(pa.field(free, _NUMBERS.get(name, pa.float64() if is_score else pa.string())))
        self._schema, self._columns = schema, columns
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, schema)
        self._waiting: list[pa.Table] = []

    def write(self, block: pd.DataFrame, predictions: list[AnyPrediction]) -> None:
        rows = with_predictions(block, predictions, self._columns)
        arrays = [arrow_column(rows[field.name], field.type) for field in self._schema]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        if sum(len(table) for table in self._waiting) >= ROWS_PER_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._writer.write_table(table, row_group_size=len(table))
        self._waiting = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was predicted so far is readable only with the file's last bytes.
        with self._file:
            self._write_group()
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())


class _WorkbookFile:
    """Becomes a file at its end alone: a workbook cannot end after any row."""

    def __init__(self, path: Path, schema: pa.Schema, columns: Mapping[str, str]) -> None:
        self._columns = columns
        self._writer = WorkbookWriter(path, [*schema.names, *columns.values()])

    def write(self, block: pd.DataFrame, predictions: list[AnyPrediction]) -> None:
        self._writer.write(with_predictions(block, predictions, self._columns))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was predicted so far can be opened.
        self._writer.close()


def with_predictions(block: pd.DataFrame, predictions: list[AnyPrediction], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows with their predictions, in columns under the names of `free_names`."""
    rows = [prediction.row() for prediction in predictions]
    # As objects: a column of ratings keeps its whole numbers where one is missing.
    values = {
        free: pd.Series([row.get(name) for row in rows], index=block.index, dtype=object)
        for name, free in columns.items()
    }
    return block.assign(**values)


def _delimited(separator: str, columns: Mapping[str, str]) -> Callable[[pd.DataFrame, list[AnyPrediction], bool], str]:
    def formatted(block: pd.DataFrame, predictions: list[AnyPrediction], header: bool) -> str:
        return csv_text(with_predictions(block, predictions, columns), separator, header)

    return formatted


class _JsonLines:
    """A row as a line of JSON: the text, the other columns of the input, and the rest of the prediction."""

    def __init__(self, columns: Sequence[str], text_column: str) -> None:
        self._kept = [name for name in columns if name != text_column]

    def __call__(self, block: pd.DataFrame, predictions: list[AnyPrediction], header: bool) -> str:
        cells = [block[name].tolist() for name in self._kept]
        lines = []
        for place, prediction in enumerate(predictions):
            fields = prediction.to_dict()
            names = free_names(fields, self._kept)
            row = {names["text"]: fields.pop("text")}
            row |= {name: _json_cell(column[place]) for name, column in zip(self._kept, cells, strict=True)}
            row |= {names[name]: value for name, value in fields.items()}
            if names.get("label") == "label":
                # Whoever takes these labels for those of a file has to know that they are names.
                row.setdefault(MARK_COLUMN, NAMES)
            lines.append(json.dumps(row, ensure_ascii=False, default=str) + "\n")
        return "".join(lines)


def _json_cell(value: Any) -> Any:
    """Convert a cell to a JSON value: null for what is missing or no finite number."""
    if value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return value


def texts_of(column: pd.Series) -> list[Any]:
    """List a text column's cells, None where one is missing."""
    return [None if cell is pd.NA else cell for cell in column.tolist()]
