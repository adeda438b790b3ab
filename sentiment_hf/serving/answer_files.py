"""Rows with their answers as files, written block by block: csv, tsv, jsonl and parquet."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_hf.data.arrow_columns import arrow_column
from sentiment_hf.data.labelled import PredictedTask
from sentiment_hf.data.spreadsheets import csv_text
from sentiment_hf.exceptions import InputError
from sentiment_hf.serving.answers import Answer, columns_of_answers

ANSWER_KINDS = ("csv", "tsv", "jsonl", "parquet", "csv.gz", "tsv.gz", "jsonl.gz")
# Rows of one group in a parquet file; readers fetch a group at a time, and hardly any pay for many small ones.
ROWS_PER_GROUP = 8192
_NUMBERS = {"probability": pa.float64(), "expected_rating": pa.float64(), "predicted_rating": pa.int64()}


class AnswerFile(Protocol):
    """Takes blocks of rows with their answers; used in a `with`, at whose end the file is whole, or, after an error,
    ends with a whole row."""

    def write(self, block: pd.DataFrame, answers: list[Answer]) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def answer_kind(path: Path) -> str:
    """The kind of an output file by its ending.

    Raises:
        InputError: an ending that is not written.
    """
    found = next((kind for kind in ANSWER_KINDS if path.name.lower().endswith(f".{kind}")), None)
    if found is None:
        expected = f"--output ending in {', '.join('.' + kind for kind in ANSWER_KINDS)}"
        raise InputError(expected, str(path), "Choose one of these endings.")
    return found


def answer_file(path: Path, kind: str, schema: pa.Schema, task: PredictedTask) -> AnswerFile:
    """Open a file for answers.

    Args:
        path: replaced if it is there.
        kind: one of `ANSWER_KINDS`. jsonl has a line `Answer.to_dict()` a row; the others have the columns of the input
            and those of the answers. In csv and tsv a cell that a spreadsheet program would calculate is guarded.
        schema: of the input.
        task: of the classifier.
    """
    columns = columns_of_answers(task)
    if kind == "parquet":
        return _ParquetFile(path, schema, columns)
    formatted = {"csv": _delimited(","), "tsv": _delimited("\t"), "jsonl": _json_lines}[kind.removesuffix(".gz")]
    return _TextFile(path, formatted, columns, is_zipped=kind.endswith(".gz"))


class _TextFile:
    def __init__(
        self,
        path: Path,
        formatted: Callable[[pd.DataFrame, list[Answer], tuple[str, ...], bool], str],
        columns: tuple[str, ...],
        is_zipped: bool,
    ) -> None:
        self._formatted, self._columns, self._is_zipped = formatted, columns, is_zipped
        self._file = path.open("wb", buffering=0)
        self._whole = 0
        self._is_first = True

    def write(self, block: pd.DataFrame, answers: list[Answer]) -> None:
        text = self._formatted(block, answers, self._columns, self._is_first).encode("utf-8", "replace")
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
    def __init__(self, path: Path, schema: pa.Schema, columns: tuple[str, ...]) -> None:
        for name in columns:
            is_score = name.startswith(("probability_", "score"))
            field = pa.field(name, _NUMBERS.get(name, pa.float64() if is_score else pa.string()))
            place = schema.get_field_index(name)
            schema = schema.append(field) if place < 0 else schema.set(place, field)
        self._schema, self._columns = schema, columns
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, schema)
        self._waiting: list[pa.Table] = []

    def write(self, block: pd.DataFrame, answers: list[Answer]) -> None:
        rows = _with_answers(block, answers, self._columns)
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
        # What was answered so far is readable only with the file's last bytes.
        with self._file:
            self._write_group()
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())


def _with_answers(block: pd.DataFrame, answers: list[Answer], columns: tuple[str, ...]) -> pd.DataFrame:
    rows = [answer.row() for answer in answers]
    # As objects: a column of ratings keeps its whole numbers where one is missing.
    values = {name: pd.Series([row.get(name) for row in rows], index=block.index, dtype=object) for name in columns}
    return block.assign(**values)


def _delimited(separator: str) -> Callable[[pd.DataFrame, list[Answer], tuple[str, ...], bool], str]:
    def formatted(block: pd.DataFrame, answers: list[Answer], columns: tuple[str, ...], header: bool) -> str:
        return csv_text(_with_answers(block, answers, columns), sep=separator, header=header)

    return formatted


def _json_lines(block: pd.DataFrame, answers: list[Answer], columns: tuple[str, ...], header: bool) -> str:
    return "".join(json.dumps(answer.to_dict(), ensure_ascii=False) + "\n" for answer in answers)


def texts_of(column: pd.Series) -> list[Any]:
    """A text column's cells, None where one is missing."""
    return [None if cell is pd.NA else cell for cell in column.tolist()]
