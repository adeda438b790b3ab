"""Columns of Python values as columns of a parquet file, which have one type each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa


class ColumnTypes:
    """The columns that rows have, and a type for each that holds all of its values, told row by row."""

    def __init__(self) -> None:
        # A dict keeps the order in which columns turn up.
        self._kinds: dict[str, set[str]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            kinds = self._kinds.setdefault(name, set())
            if not _is_missing(value):
                kinds.add(_kind(value))

    def schema(self) -> pa.Schema:
        """Integers, floats and truth values keep their type where a column has nothing else; all other columns are
        text, in which a value that is no text stands as JSON."""
        return pa.schema([(name, _type(kinds)) for name, kinds in self._kinds.items()])


def arrow_column(column: pd.Series, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Convert a column to Arrow, with a type of `ColumnTypes` or one that came out of a parquet file.

    A lone surrogate, which no file can hold, becomes a question mark.
    """
    if isinstance(column.dtype, pd.ArrowDtype):
        return pa.array(column, type=kind)
    values = [None if _is_missing(value) else value for value in column.tolist()]
    if kind == pa.string():
        values = [None if value is None else _text(value) for value in values]
    return pa.array(values, type=kind)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**63) <= value < 2**63 else "other"
    if isinstance(value, float):
        return "float"
    return "str" if isinstance(value, str) else "other"


def _type(kinds: set[str]) -> pa.DataType:
    if kinds == {"bool"}:
        return pa.bool_()
    if kinds == {"int"}:
        return pa.int64()
    return pa.float64() if kinds in ({"float"}, {"int", "float"}) else pa.string()


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
