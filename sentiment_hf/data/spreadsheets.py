"""csv files that people open in a spreadsheet program: what others wrote in a cell is shown there, never calculated."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.delimited import delimited_text

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
