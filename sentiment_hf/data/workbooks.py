"""Read Excel workbooks: the first sheet with rows is the table."""

from __future__ import annotations

import datetime
import io
import logging
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.data.delimited import cell_text
from sentiment_hf.data.quoting import unique_names
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

logger = logging.getLogger(__name__)

EXTRA = "excel"
# What a sheet holds at most: rows with the header, and characters of a cell.
MAX_ROWS, MAX_CHARACTERS = 1_048_576, 32_767
# Numbers in a sheet are doubles; beyond it neighbours are the same.
_EXACT = 2**53
# How a workbook spells a character that XML cannot hold, and the text that would be taken for one.
_NO_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


def read_workbook(data: bytes, name: str, column_names: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Read the table of a workbook (xlsx, xlsm, xlsb, xls or ods): whole numbers without .0, dates as ISO 8601.

    Args:
        data: the file.
        name: of the file, for messages.
        column_names: of a sheet whose first row is one of the table.

    Raises:
        InputError: no sheet with rows, or rows longer than the header.
        MissingExtraError: the reader is not installed.
    """
    try:
        from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum
    except ImportError as error:
        raise MissingExtraError("python-calamine", EXTRA) from error
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
    except Exception as error:
        # Its reader raises classes of its own for each kind of workbook.
        found = " ".join(str(error).split()) or type(error).__name__
        remedy = "Save it again as xlsx, without a password."
        raise InputError(f"a workbook that can be read at {name}", found, remedy) from None
    sheets = {
        sheet.name: _rows(workbook.get_sheet_by_name(sheet.name).to_python(skip_empty_area=False))
        for sheet in workbook.sheets_metadata
        if sheet.visible == SheetVisibleEnum.Visible and sheet.typ == SheetTypeEnum.WorkSheet
    }
    filled = [sheet for sheet, rows in sheets.items() if rows]
    if not filled:
        raise InputError(f"rows in {name}", "an empty workbook", "Check what wrote the file.")
    if len(filled) > 1:
        others = ", ".join(repr(sheet) for sheet in filled[1:])
        logger.warning("%s: the rows are those of the sheet %r; %s are not read", name, filled[0], others)
    return _table(sheets[filled[0]], name, column_names)


def _rows(cells: Iterable[list[Any]]) -> list[tuple[int, list[Any]]]:
    """Rows with anything in them, each with its number in the sheet."""
    rows = ((number, [_value(cell) for cell in row]) for number, row in enumerate(cells, start=1))
    return [(number, row) for number, row in rows if any(cell is not None for cell in row)]


def _value(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) <= _EXACT:
        return int(cell)
    if isinstance(cell, datetime.datetime):
        is_day = cell.time() == datetime.time()
        return cell.date().isoformat() if is_day else cell.isoformat(sep=" ")
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell) if isinstance(cell, datetime.timedelta) else cell


def _table(rows: list[tuple[int, list[Any]]], name: str, column_names: tuple[str, ...] | None) -> pd.DataFrame:
    if column_names is None:
        names = unique_names([cell_text(cell) for cell in rows[0][1]], name)
        rows = rows[1:]
        # Cells that were emptied still widen a sheet.
        while names and names[-1].startswith("Unnamed: ") and all(row[len(names) - 1] is None for _, row in rows):
            names = names[:-1]
    else:
        names = column_names
    for number, row in rows:
        if any(cell is not None for cell in row[len(names) :]):
            found = f"more cells than its {len(names)} columns in row {number}"
            raise InputError(f"a table in {name}", found, "Name every column in the first row, or in column_names.")
    cells = [[*row[: len(names)], *[None] * (len(names) - len(row))] for _, row in rows]
    return pd.DataFrame(cells, columns=list(names), dtype=object)


def require_writer() -> None:
    """Raise MissingExtraError where workbooks cannot be written."""
    try:
        import openpyxl  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("openpyxl", EXTRA) from error


class WorkbookWriter:
    """Writes a table to an xlsx file row by row; texts stay texts, whatever a spreadsheet would calculate.

    Args:
        path: replaced if it is there, when the writer is closed.
        columns: names of the columns.

    Raises:
        MissingExtraError: the writer is not installed.
    """

    def __init__(self, path: Path, columns: Iterable[str]) -> None:
        require_writer()
        from openpyxl import Workbook

        self._path = path
        self._book = Workbook(write_only=True)
        self._sheet = self._book.create_sheet("rows")
        self._sheet.append([self._cell(name) for name in columns])

    def write(self, table: pd.DataFrame) -> None:
        """Append the rows of a table with these columns.

        Raises:
            InputError: a text that is longer than a cell may be.
        """
        for row in zip(*(table.iloc[:, place].tolist() for place in range(table.shape[1])), strict=True):
            self._sheet.append([self._cell(value) for value in row])

    def close(self) -> None:
        """Write the file whole, or not at all."""
        with self._path.open("wb") as file:
            self._book.save(file)
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Write nothing after all."""
        self._sheet.close()

    def _cell(self, value: Any) -> Any:
        from openpyxl.cell import WriteOnlyCell

        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, bool) or (isinstance(value, int) and abs(value) <= _EXACT):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        text = cell_text(value)
        if not text:
            return None
        text = text.encode("utf-8", "replace").decode("utf-8")
        check_cell(text)
        cell = WriteOnlyCell(self._sheet, value=_NO_XML.sub(lambda match: f"_x{ord(match[0]):04X}_", text))
        # Not a formula, whatever it begins with.
        cell.data_type = "s"
        return cell


def check_cell(text: str) -> None:
    """Raise InputError for a text that no cell of a workbook holds."""
    if len(text) > MAX_CHARACTERS:
        found = f"a text of {len(text):,} characters"
        raise InputError(f"at most {MAX_CHARACTERS:,} characters a cell of xlsx", found, "Write csv or jsonl.")


def write_workbook(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as a workbook.

    Raises:
        InputError: more rows, or longer texts, than a sheet holds.
    """
    check_rows(len(table))
    writer = WorkbookWriter(path, [str(name) for name in table.columns])
    try:
        writer.write(table)
    except InputError:
        writer.discard()
        raise
    writer.close()
    return path


def check_rows(rows: int) -> None:
    """Raise InputError for more rows than a sheet holds."""
    if rows >= MAX_ROWS:
        raise InputError(f"fewer than {MAX_ROWS:,} rows for xlsx", f"{rows:,}", "Write csv, jsonl or parquet.")
