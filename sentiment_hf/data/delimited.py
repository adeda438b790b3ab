r"""The dialect of csv, tsv and txt tables, and escaping of cells that a spreadsheet would run as formulas.

A cell in quotation marks may hold the separator, line ends and doubled quotation marks (RFC 4180). Published Chinese
sets are often written without quoting and hold stray quotation marks, so a whole file is read one way, which
`sentiment_hf.data.quoting` chooses: quoted, or literally, a line a row and every quotation mark a character of its
text. Lines end at \n (or \r\n); a lone \r within a line is a character of its cell. A file without \n has lines that
end at \r.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

QUOTE = '"'
BYTE_ORDER_MARK = "\ufeff"
# A quoted cell beyond it was never closed; a whole file would be held in memory to find out.
_LONGEST_CELL = 20_000_000
# A header cell with one of them is quoted, so that no reader takes it for the separator.
_USUAL_SEPARATORS = (",", "\t", ";", "|")

OpenBytes = Callable[[], BinaryIO]


class MalformedRecord(ValueError):
    """A row that quoted reading cannot take.

    Attributes:
        line: its number.
        problem: what is wrong there.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


@dataclass(frozen=True)
class Line:
    """A line of a file: its number (from 1), what is in it, and the characters that end it."""

    number: int
    body: str
    end: str


@dataclass(frozen=True)
class Record:
    """A row.

    Attributes:
        line: number of its first line.
        cells: its cells.
        quoted: which of them stand in quotation marks; empty where none does.
        bodies: the lines that it takes, where there are quotation marks in them.
    """

    line: int
    cells: list[str]
    quoted: tuple[bool, ...] = ()
    bodies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    r"""How a file is divided into rows and cells.

    Attributes:
        codec: decodes it.
        line_end: \n or \r.
        separator: stands between cells.
        is_quoted: whether quotation marks enclose cells, or are characters of the text.
        names: of the columns.
        header_line: number of the line that holds them, or begins to; 0 where none does.
        rows: in the file.
    """

    codec: str
    line_end: str
    separator: str
    is_quoted: bool
    names: tuple[str, ...]
    header_line: int
    rows: int


def file_lines(open_bytes: OpenBytes, codec: str, line_end: str) -> Iterator[Line]:
    """Yield the lines of a file, in constant memory."""
    with io.TextIOWrapper(open_bytes(), encoding=codec, newline=line_end) as text:
        for number, line in enumerate(text, start=1):
            marked = BYTE_ORDER_MARK if number == 1 and line.startswith(BYTE_ORDER_MARK) else ""
            body = line[len(marked) :].removesuffix("\n").removesuffix("\r")
            yield Line(number, body, line[len(marked) + len(body) :])


def literal_records(lines: Iterable[Line], separator: str) -> Iterator[Record]:
    """Split each line into a row at every separator; lines without a character are passed over."""
    return (Record(line.number, line.body.split(separator)) for line in lines if line.body)


def quoted_records(lines: Iterable[Line], separator: str) -> Iterator[Record]:
    """Rows whose cells may stand in quotation marks; lines without a character between rows are passed over.

    Raises:
        MalformedRecord: a quotation mark that is never closed, or something between the one that closes a cell and the
            separator.
    """
    record: _QuotedRecord | None = None
    for line in lines:
        if record is None and QUOTE not in line.body:
            if line.body:
                yield Record(line.number, line.body.split(separator))
            continue
        record = record or _QuotedRecord(line.number, separator)
        if record.add(line):
            yield Record(record.line, record.cells, tuple(record.quoted), tuple(record.bodies))
            record = None
    if record is not None:
        raise MalformedRecord(record.opened, "a quotation mark that is not closed")


class _QuotedRecord:
    """A row with quotation marks, which takes lines until it is whole."""

    def __init__(self, line: int, separator: str) -> None:
        self.line, self._separator = line, separator
        self.cells: list[str] = []
        self.quoted: list[bool] = []
        self.bodies: list[str] = []
        # Of the quoted cell that is open: its pieces and their characters, and the line that it began in.
        self._pieces: list[str] | None = None
        self._held = self.opened = 0

    def add(self, line: Line) -> bool:
        """Take a line; whether the row ends with it."""
        self.bodies.append(line.body)
        place = 0 if self._pieces is None else self._enclosed(line, 0)
        while place >= 0:
            if line.body.startswith(QUOTE, place):
                self._pieces, self._held, self.opened = [], 0, line.number
                place = self._enclosed(line, place + 1)
            else:
                place = self._plain(line.body, place)
        return self._pieces is None

    def _plain(self, body: str, place: int) -> int:
        """Take a cell without quotation marks around it; the place of the next one, or -1 at the end of the line."""
        stop = body.find(self._separator, place)
        self.cells.append(body[place:] if stop < 0 else body[place:stop])
        self.quoted.append(False)
        return stop + len(self._separator) if stop >= 0 else -1

    def _enclosed(self, line: Line, place: int) -> int:
        """Take what the line has of the open cell; likewise."""
        assert self._pieces is not None
        body = line.body
        while True:
            stop = body.find(QUOTE, place)
            if stop < 0:
                self._pieces.append(body[place:] + line.end)
                self._held += len(body) + 1
                if self._held > _LONGEST_CELL:
                    raise MalformedRecord(self.opened, "a quotation mark that is not closed")
                return -1
            self._pieces.append(body[place:stop])
            place = stop + 1
            if not body.startswith(QUOTE, place):
                break
            self._pieces.append(QUOTE)
            place += 1
        self.cells.append("".join(self._pieces))
        self.quoted.append(True)
        self._pieces = None
        if place == len(body):
            return -1
        if not body.startswith(self._separator, place):
            raise MalformedRecord(line.number, "a quotation mark closes a cell that goes on after it")
        return place + len(self._separator)


def is_blank_row(record: Record, width: int) -> bool:
    """White space alone in a table of several columns, as spreadsheets and editors leave it at the end."""
    return width > 1 and len(record.cells) == 1 and not any(record.quoted) and not record.cells[0].strip()


def rows_of(open_bytes: OpenBytes, layout: Layout) -> Iterator[list[str | None]]:
    """Yield the rows below the header, as long as it; cells that a row lacks at its end are None."""
    lines = file_lines(open_bytes, layout.codec, layout.line_end)
    parse = quoted_records if layout.is_quoted else literal_records
    width = len(layout.names)
    for record in parse(lines, layout.separator):
        if record.line <= layout.header_line or is_blank_row(record, width):
            continue
        cells: list[str | None] = [*record.cells[:width]]
        yield cells + [None] * (width - len(cells))


def delimited_text(table: pd.DataFrame, separator: str = ",", header: bool = True) -> str:
    """Write a table as text of this dialect; `read_table` gives back the same cells, missing ones as empty text.

    A row with a line end in it has all cells quoted, so that none of its lines looks like a row of its own.

    Args:
        table: of any cells; the index is not written. Lone surrogates, which no file can hold, become question marks.
        separator: between cells.
        header: whether the names of the columns come first.
    """
    lines = []
    if header:
        lines.append(_written([str(name) for name in table.columns], separator, _USUAL_SEPARATORS))
    for row in zip(*(table.iloc[:, place].tolist() for place in range(table.shape[1])), strict=True):
        lines.append(_written([cell_text(value) for value in row], separator))
    return "".join(lines).encode("utf-8", "replace").decode("utf-8")


def cell_text(value: Any) -> str:
    """Write a cell as text: missing values are empty, lists and mappings JSON."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, dict | list | np.ndarray):
        value = value.tolist() if isinstance(value, np.ndarray) else value
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _written(cells: list[str], separator: str, special: tuple[str, ...] = ()) -> str:
    special = (separator, QUOTE, "\n", "\r", *special)
    needs = [any(mark in cell for mark in special) or cell.startswith(BYTE_ORDER_MARK) for cell in cells]
    if len(cells) == 1:
        # Readers pass over a line without anything in it.
        needs = [needs[0] or not cells[0].strip()]
    if any("\n" in cell or "\r" in cell for cell in cells):
        needs = [True] * len(cells)
    return separator.join(_quoted(cell) if need else cell for cell, need in zip(cells, needs, strict=True)) + "\n"


def _quoted(cell: str) -> str:
    return QUOTE + cell.replace(QUOTE, QUOTE * 2) + QUOTE


# A spreadsheet takes a cell that begins so for a formula, and some take the full-width forms for the same.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_MARK = "'"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# With its mark a spreadsheet program knows that the file is UTF-8.
ENCODING = "utf-8-sig"


def guarded_cell(value: Any) -> Any:
    """Guard a cell so that a spreadsheet shows it unchanged: put an apostrophe before a text that it would calculate,
    and before one that has apostrophes there already, so that `plain_cell` gives back what was guarded. Numbers stay
    numbers."""
    if not isinstance(value, str) or not value.lstrip(_MARK).startswith(FORMULA_STARTS):
        return value
    return value if _NUMBER.fullmatch(value) else _MARK + value


def plain_cell(value: Any) -> Any:
    """Restore a cell as it was before `guarded_cell`; one without its apostrophe stays as it is."""
    if not isinstance(value, str) or not value.startswith(_MARK):
        return value
    return value[1:] if value.lstrip(_MARK).startswith(FORMULA_STARTS) else value


def guarded(table: pd.DataFrame) -> pd.DataFrame:
    """Put an apostrophe before every text and every column's name that a spreadsheet would calculate, in a copy."""
    return _each_cell(table, guarded_cell)


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Restore the table that `guarded` was given."""
    return _each_cell(table, plain_cell)


def csv_text(table: pd.DataFrame, separator: str = ",", header: bool = True) -> str:
    """Guard a table and write it as csv, or with a tab as tsv; see `delimited_text`."""
    return delimited_text(guarded(table), separator, header)


def write_csv(table: pd.DataFrame, path: Path) -> Path:
    """Write a guarded csv file that spreadsheet programs open as UTF-8."""
    path.write_text(csv_text(table), encoding=ENCODING, newline="")
    return path


def _each_cell(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """Names of columns and cells of text changed; numbers need no look, and names may come twice."""
    changed = table.copy(deep=False)
    for place, kind in enumerate(table.dtypes):
        if pd.api.types.is_numeric_dtype(kind):
            continue
        # As objects: pandas' own kind of text holds no lone surrogates.
        cells = pd.Series([change(cell) for cell in table.iloc[:, place]], index=table.index, dtype=object)
        changed.isetitem(place, cells)
    return changed.set_axis([change(name) for name in table.columns], axis=1)
