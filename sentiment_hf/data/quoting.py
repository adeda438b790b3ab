"""Detect the separator of a csv, tsv or txt file, and whether quotation marks enclose cells.

Both readings of the quotation marks are followed through the whole file before a row of it is used, so that rows are
neither merged by a stray mark nor cut where a text has lines.
"""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from sentiment_hf.data.delimited import (
    QUOTE,
    Layout,
    Line,
    MalformedRecord,
    OpenBytes,
    Record,
    file_lines,
    is_blank_row,
    quoted_records,
)
from sentiment_hf.data.table_format import TableFormat, separator_name
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

# Separators by the ending of a file, and those that are looked for in its place.
_OF_ENDING = {"csv": ",", "tsv": "\t", "txt": "\t"}
_CANDIDATES = (",", "\t", ";", "|", "_!_")
# Stands in no line: the whole line is a cell.
_NO_SEPARATOR = "\n"
# Where a comma or a semicolon separates, programs write by RFC 4180; elsewhere quoting has to show itself.
_QUOTING_IS_USUAL = (",", ";")
_SAMPLE_CHARACTERS = 1 << 20
_SAMPLE_LINES = 200
_QUOTED_CELL = re.compile(r'(^|[,\t;|])"(?:[^"]|"")*"?')
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
# Values of a column that has as few as labels have.
_FEW_VALUES = 50
_MAX_SUSPECTS = 1000


@dataclass
class _Widths:
    """How long the rows of one reading are beside the header.

    Attributes:
        rows: in all, the header aside.
        long: line and cells of the first with more cells, of which the ones beyond the header hold something.
        short: number of those with fewer.
        first_short: line of the first of them.
    """

    rows: int = 0
    long: tuple[int, int] | None = None
    short: int = 0
    first_short: int = 0

    def add(self, line: int, cells: list[str], width: int) -> None:
        self.rows += 1
        if len(cells) < width:
            self.short += 1
            self.first_short = self.first_short or line
        elif len(cells) > width and self.long is None and any(cells[width:]):
            self.long = line, len(cells)


@dataclass
class _Survey:
    """What both readings of a file's quotation marks come to.

    Attributes:
        width: cells of the header.
        literal: rows where every mark is a character.
        quoted: rows where marks enclose cells.
        short_with_quote: whether a literal row that is too short has a mark in it, as half of a quoted cell has.
        problem: what quoted reading fails at.
        differs: line of the first row in which the readings differ.
        enclosed: rows with a cell in quotation marks.
        needless: line of the first cell that no writer would have quoted, in a row where not all cells are.
        header_is_quoted: whether names of columns stand in quotation marks.
        values: of each column, in rows of one line.
        suspects: rows over several lines of which one could be rows of their own: line, last line, cells of each.
        first_spanning: first and last line of the first row over several lines.
    """

    width: int
    literal: _Widths = field(default_factory=_Widths)
    quoted: _Widths = field(default_factory=_Widths)
    short_with_quote: bool = False
    problem: MalformedRecord | None = None
    differs: int = 0
    enclosed: int = 0
    needless: int = 0
    header_is_quoted: bool = False
    values: list[Counter[str]] = field(default_factory=list)
    suspects: list[tuple[int, list[list[str]]]] = field(default_factory=list)
    first_spanning: tuple[int, int] | None = None

    def swallowing(self) -> tuple[int, int] | None:
        """First and last line of a row that looks like several rows which stray quotation marks merged: in one of the
        columns each of its lines has a value that other rows have there, or a number."""
        for line, bodies in self.suspects:
            whole = [cells for cells in bodies if len(cells) == self.width]
            if any(all(self._looks_usual(place, cells[place]) for cells in whole) for place in range(self.width)):
                return line, line + len(bodies) - 1
        return None

    def _looks_usual(self, place: int, cell: str) -> bool:
        values = self.values[place]
        if QUOTE in cell:
            return False
        if 0 < len(values) <= _FEW_VALUES and values.total() >= 2 * len(values):
            return cell in values
        return _NUMBER.fullmatch(cell.strip()) is not None


def find_layout(open_bytes: OpenBytes, codec: str, name: str, kind: str, form: TableFormat) -> Layout:
    """Look through a file.

    Args:
        open_bytes: opens its content at the beginning.
        codec: decodes it.
        name: of the file, for messages.
        kind: csv, tsv or txt.
        form: what is known of it.

    Raises:
        InputError: rows longer than the header, marks by which rows would be lost; each with its line.
    """
    line_end = _line_end(open_bytes, codec)
    sample = list(
        islice((line for line in file_lines(open_bytes, codec, line_end) if line.body.strip()), _SAMPLE_LINES)
    )
    if not sample:
        raise InputError(f"rows in {name}", "an empty file", "Check what wrote the file.")
    separator = form.separator or _find_separator(sample, kind, form.column_names)
    usual = _OF_ENDING[kind]
    if form.separator is None and separator not in (usual, _NO_SEPARATOR) and kind != "txt":
        found, of_ending = separator_name(separator), separator_name(usual)
        logger.warning("%s: %s stands between the cells, not %s; --separator says otherwise", name, found, of_ending)
    header = None if form.column_names else _header(open_bytes, codec, line_end, separator)
    names = form.column_names or unique_names(header.cells if header else [], name)
    survey = _survey(open_bytes, codec, line_end, separator, len(names), header)
    is_quoted = _choose(survey, name, kind, separator)
    widths = survey.quoted if is_quoted else survey.literal
    _check_widths(widths, names, name, kind, separator)
    if form.column_names:
        first = next(quoted_records(sample[:1], separator), None) if QUOTE not in sample[0].body else None
        if first is not None and tuple(cell.strip() for cell in first.cells) == form.column_names:
            found, remedy = "the names themselves in the first line", "Leave column_names out."
            raise InputError(f"rows without a header in {name}", found, remedy)
    elif not is_quoted and header is not None and any(header.quoted):
        names = unique_names(sample[0].body.split(separator), name)
    header_line = 0 if header is None else header.line
    return Layout(codec, line_end, separator, is_quoted, names, header_line, widths.rows)


def _line_end(open_bytes: OpenBytes, codec: str) -> str:
    with io.TextIOWrapper(open_bytes(), encoding=codec, newline="") as text:
        sample = text.read(_SAMPLE_CHARACTERS)
    return "\r" if "\r" in sample and "\n" not in sample else "\n"


def _find_separator(sample: list[Line], kind: str, names: tuple[str, ...] | None) -> str:
    """Find what separates the cells: the ending's separator, unless another fits the lines and that one does not."""
    bare = [_QUOTED_CELL.sub(r"\1", line.body) for line in sample]
    usual = _OF_ENDING[kind]
    if not bare or (names is not None and len(names) == 1):
        return _NO_SEPARATOR if kind == "txt" else usual
    candidates = [usual, *(mark for mark in _CANDIDATES if mark != usual)]
    counts = {mark: (bare[0].count(mark) if names is None else len(names) - 1) for mark in candidates}
    rows = bare[1:] if names is None else bare

    def fitting(mark: str, at_least: bool = False) -> float:
        fits = sum(row.count(mark) == counts[mark] or (at_least and row.count(mark) > counts[mark]) for row in rows)
        return fits / max(len(rows), 1)

    if counts[usual] and (fitting(usual) > 0 or not rows):
        return usual
    others = [mark for mark in candidates if counts[mark] and fitting(mark, at_least=True) >= 0.9]
    if others and (not counts[usual] or fitting(usual, at_least=True) < 0.9):
        return max(others, key=lambda mark: (fitting(mark), counts[mark]))
    return usual


def _header(open_bytes: OpenBytes, codec: str, line_end: str, separator: str) -> Record | None:
    lines = file_lines(open_bytes, codec, line_end)
    try:
        records = quoted_records(lines, separator)
        return next((record for record in records if record.quoted or "".join(record.cells).strip()), None)
    except MalformedRecord as problem:
        first = next(line for line in file_lines(open_bytes, codec, line_end) if line.body.strip())
        if first.number != problem.line:
            raise
        return Record(first.number, first.body.split(separator))


def unique_names(cells: list[str], file: str) -> tuple[str, ...]:
    """Names of columns as pandas gives them: nameless ones are numbered, repeated ones counted, which is warned of."""
    names: list[str] = []
    for place, cell in enumerate(cells):
        name = base = cell or f"Unnamed: {place}"
        count = 0
        while name in names:
            count += 1
            name = f"{base}.{count}"
        if count:
            logger.warning(
                "%s: column %r comes again and is called %r here; the first one keeps its name", file, base, name
            )
        names.append(name)
    return tuple(names)


def _survey(
    open_bytes: OpenBytes, codec: str, line_end: str, separator: str, width: int, header: Record | None
) -> _Survey:
    survey = _Survey(width, values=[Counter() for _ in range(width)])
    survey.header_is_quoted = header is not None and any(header.quoted)
    first_row = 0 if header is None else header.line

    def counted() -> Iterator[Line]:
        for line in file_lines(open_bytes, codec, line_end):
            cells = line.body.split(separator)
            if line.number > first_row and line.body and not is_blank_row(Record(line.number, cells), width):
                survey.literal.add(line.number, cells, width)
                survey.short_with_quote |= len(cells) < width and QUOTE in line.body
            yield line

    lines = counted()
    try:
        for record in quoted_records(lines, separator):
            if record.line > first_row and not is_blank_row(record, width):
                _add_record(survey, record, separator)
    except MalformedRecord as problem:
        survey.problem = problem
        for _ in lines:
            pass
    return survey


def _add_record(survey: _Survey, record: Record, separator: str) -> None:
    survey.quoted.add(record.line, record.cells, survey.width)
    if any(record.quoted):
        survey.enclosed += 1
        survey.differs = survey.differs or record.line
        special = (separator, QUOTE, "\n", "\r")
        needless = any(
            is_enclosed and not any(mark in cell for mark in special)
            for cell, is_enclosed in zip(record.cells, record.quoted, strict=True)
        )
        if needless and not survey.needless and (survey.width == 1 or not all(record.quoted)):
            survey.needless = record.line
    if len(record.bodies) > 1:
        last = record.line + len(record.bodies) - 1
        survey.first_spanning = survey.first_spanning or (record.line, last)
        if len(record.cells) < survey.width and survey.problem is None:
            found = f"a quotation mark that is closed in line {last}, in a row with fewer cells than columns"
            survey.problem = MalformedRecord(record.line, found)
        bodies = [body.split(separator) for body in record.bodies]
        whole = sum(len(cells) == survey.width for cells in bodies)
        is_suspect = survey.width > 1 and len(bodies[0]) == survey.width and whole > 1 and 2 * whole >= len(bodies)
        if is_suspect and len(survey.suspects) < _MAX_SUSPECTS:
            survey.suspects.append((record.line, bodies))
    else:
        for values, cell in zip(survey.values, record.cells, strict=False):
            if len(values) <= _FEW_VALUES:
                values[cell] += 1


def _choose(survey: _Survey, name: str, kind: str, separator: str) -> bool:
    """Whether quotation marks enclose cells.

    Raises:
        InputError: they do so in some rows, and would merge or cut others.
    """
    is_usual = separator in _QUOTING_IS_USUAL
    if survey.problem is None and not survey.differs and not survey.header_is_quoted:
        return is_usual
    literal_holds = (
        not survey.header_is_quoted
        and survey.literal.long is None
        and not (survey.literal.short and survey.short_with_quote)
        and (survey.width > 1 or not is_usual)
        and 2 * survey.enclosed <= max(survey.quoted.rows, 1)
    )
    if survey.problem is not None:
        if not literal_holds:
            remedy = 'Double the marks within a cell ("") and close each cell, or save the rows as jsonl or xlsx.'
            raise InputError(
                f"well-formed {kind} in {name}", f"line {survey.problem.line}: {survey.problem.problem}", remedy
            )
        said = "%s: quotation marks are read as characters of the texts, a line a row: in line %d %s"
        logger.warning(said, name, survey.problem.line, survey.problem.problem)
        return False
    swallowing = survey.swallowing()
    if swallowing is not None:
        first, last = swallowing
        if not literal_holds:
            found = f"a quotation mark in line {first} that is closed in line {last}, between them what looks like rows"
            remedy = "Remove it, or double it within a quoted cell; or save the rows as jsonl or xlsx."
            raise InputError(f"well-formed {kind} in {name}", found, remedy)
        said = "%s: lines %d to %d look like rows that stray quotation marks would merge; marks are read as characters"
        logger.warning(said, name, first, last)
        return False
    if not is_usual and survey.needless and literal_holds and survey.literal.short == 0:
        said = "%s: quotation marks are read as characters of the texts, as in line %d; csv and jsonl leave no doubt"
        logger.warning(said, name, survey.needless)
        return False
    if survey.width == 1 and survey.first_spanning is not None:
        logger.warning("%s: the quoted text of lines %d to %d is read as one row", name, *survey.first_spanning)
    return True


def _check_widths(widths: _Widths, names: tuple[str, ...], name: str, kind: str, separator: str) -> None:
    if widths.long is not None:
        line, cells = widths.long
        of_names = "cell" if len(names) == 1 else "cells"
        found = f"line {line} with {cells} cells where the columns are {len(names)} {of_names}"
        remedy = f"Quote texts that hold the separator ({separator_name(separator)}), or name another with --separator."
        raise InputError(f"well-formed {kind} in {name}", found, remedy)
    if widths.short:
        said = "%s: %d rows have fewer cells than columns, the first in line %d; what they lack is missing"
        logger.warning(said, name, widths.short, widths.first_short)
