"""Tables larger than memory: read block by block, more than once, with one type per column."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_hf.data.delimited import rows_of
from sentiment_hf.data.json_rows import parsed_line
from sentiment_hf.data.quoting import find_layout
from sentiment_hf.data.table_format import DELIMITED, TableFormat, open_bytes, table_kind
from sentiment_hf.data.tables import codec_of, read_table, wrap_read_errors
from sentiment_hf.utils.exceptions import InputError

# What an unnamed pandas index is called in a parquet file; it numbers the rows and is no column of the table.
_UNNAMED_INDEX = "__index_level_"


class RowBlocks(ABC):
    """A table on disk whose rows are read in order, in blocks, with memory for one block.

    Attributes:
        path: the file.
        rows: how many it has.
        schema: its columns with the types that they have, or would have, in a parquet file.
    """

    path: Path
    rows: int
    schema: pa.Schema

    @abstractmethod
    def _blocks(self, size: int, start: int) -> Iterator[pd.DataFrame]:
        """Blocks of at most `size` rows from row `start` on, or from any row before it that is as easy to reach; each
        has an index that counts the rows of the file."""

    def blocks(self, size: int, start: int = 0) -> Iterator[pd.DataFrame]:
        """Yield the rows from row `start` (counted from 0) on, in blocks of at most `size`.

        Raises:
            InputError: the file has other rows than when it was opened.
        """
        end = start
        for block in self._blocks(size, start):
            kept = block.loc[start:]
            if len(kept):
                end = int(kept.index[-1]) + 1
                if end > self.rows:
                    break
                yield kept
        if end != self.rows:
            found = f"{'more' if end > self.rows else f'{end:,}'} now"
            raise InputError(f"{self.rows:,} rows in {self.path}", found, "Leave the file as it is while it is read.")

    @property
    def head(self) -> pd.DataFrame:
        """The columns without rows."""
        return pd.DataFrame(columns=self.schema.names, index=pd.RangeIndex(0))

    def sha256(self) -> str:
        """Of the file as it is on disk."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def open_blocks(path: str | Path, form: TableFormat | None = None) -> RowBlocks:
    """Look through a table as `read_table` takes it: all of it is read once, so that whatever is wrong with it comes to
    light before anything is done with its rows.

    Rows are those of `read_table`. csv, tsv, txt and jsonl are read with constant memory, parquet with memory for one
    row group; json, which is one value, workbooks, fastText's lines and a parquet file inside a gzip file are held
    whole.

    Raises:
        InputError: as `read_table` does.
        MissingExtraError: likewise.
    """
    path, form = Path(path), form or TableFormat()
    with wrap_read_errors("table", path):
        kind = table_kind(path, form)
    with wrap_read_errors(kind, path):
        if kind in DELIMITED:
            blocks: RowBlocks = _DelimitedBlocks(path, kind, form)
        elif kind == "jsonl":
            blocks = _JsonLinesBlocks(path, form.encoding)
        else:
            blocks = _ParquetBlocks(path) if kind == "parquet" else _Held(path, read_table(path, form))
    if blocks.rows == 0:
        raise InputError(f"rows in {path}", "a header and nothing below it", "Check what wrote the file.")
    return blocks


class _DelimitedBlocks(RowBlocks):
    def __init__(self, path: Path, kind: str, form: TableFormat) -> None:
        self.path = path
        codec = codec_of(lambda: open_bytes(path), form.encoding, str(path))
        self._layout = find_layout(lambda: open_bytes(path), codec, str(path), kind, form)
        self.rows = self._layout.rows
        self.schema = pa.schema([(name, pa.string()) for name in self._layout.names])

    def _blocks(self, size: int, start: int) -> Iterator[pd.DataFrame]:
        rows = islice(rows_of(lambda: open_bytes(self.path), self._layout), start, None)
        while block := list(islice(rows, size)):
            index = pd.RangeIndex(start, start + len(block))
            yield pd.DataFrame(block, columns=list(self._layout.names), index=index, dtype=object)
            start += len(block)


class _JsonLinesBlocks(RowBlocks):
    def __init__(self, path: Path, encoding: str) -> None:
        self.path = path
        self._codec = codec_of(lambda: open_bytes(path), encoding, str(path))
        self.rows, types = 0, ColumnTypes()
        for number, line in self._lines():
            types.add(parsed_line(line, number, str(path)))
            self.rows += 1
        self.schema = types.schema()

    def _lines(self) -> Iterator[tuple[int, str]]:
        # Lines end at \n alone: JSON strings may hold U+2028 and U+0085 unescaped.
        with io.TextIOWrapper(open_bytes(self.path), encoding=self._codec, newline="\n") as text:
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield number, line

    def _blocks(self, size: int, start: int) -> Iterator[pd.DataFrame]:
        rows: list[dict[str, Any]] = []
        row = 0
        for row, (number, line) in enumerate(self._lines(), start=1):
            if row > start:
                rows.append(parsed_line(line, number, str(self.path)))
            if len(rows) == size:
                yield self._frame(rows, row)
                rows = []
        if rows:
            yield self._frame(rows, row)

    def _frame(self, rows: list[dict[str, Any]], end: int) -> pd.DataFrame:
        index = pd.RangeIndex(end - len(rows), end)
        return pd.DataFrame(rows, columns=self.schema.names, index=index, dtype=object)


class _ParquetBlocks(RowBlocks):
    def __init__(self, path: Path) -> None:
        self.path = path
        with open_bytes(path) as file:
            self._content = file.read() if isinstance(file, gzip.GzipFile) else None
        with self._open() as parquet:
            self.rows = parquet.metadata.num_rows
            fields = [field for field in parquet.schema_arrow if not field.name.startswith(_UNNAMED_INDEX)]
        self.schema = pa.schema(fields)
        twice = next((name for name in self.schema.names if self.schema.names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"columns of different names in {path}", f"{twice!r} twice", "Rename one of them.")

    def _open(self) -> pq.ParquetFile:
        # Without a buffer size a row group's columns are fetched whole.
        source = self.path if self._content is None else io.BytesIO(self._content)
        return pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False)

    def _blocks(self, size: int, start: int) -> Iterator[pd.DataFrame]:
        with self._open() as parquet:
            place = group = 0
            while group < parquet.num_row_groups and place + parquet.metadata.row_group(group).num_rows <= start:
                place += parquet.metadata.row_group(group).num_rows
                group += 1
            groups = list(range(group, parquet.num_row_groups))
            for batch in parquet.iter_batches(size, row_groups=groups, columns=self.schema.names):
                if not batch.num_rows:
                    continue
                # Arrow's own types in pandas: an integer column with a gap does not turn into floats.
                block = batch.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
                block.index = pd.RangeIndex(place, place + len(block))
                place += len(block)
                yield block


class _Held(RowBlocks):
    """A table in memory."""

    def __init__(self, path: Path, frame: pd.DataFrame) -> None:
        self.path, self.rows, self._frame = path, len(frame), frame
        types = ColumnTypes()
        for row in frame.to_dict("records"):
            types.add({str(name): value for name, value in row.items()})
        self.schema = types.schema()

    def _blocks(self, size: int, start: int) -> Iterator[pd.DataFrame]:
        for place in range(start, self.rows, size):
            yield self._frame.iloc[place : place + size]


class RowCursor:
    """Reads ranges of rows one after the other; ascending ranges cost one reading of the file in all.

    Args:
        source: the table.
        size: rows of a block.
    """

    def __init__(self, source: RowBlocks, size: int) -> None:
        self.source, self.size = source, size
        self._blocks: Iterator[pd.DataFrame] = iter(())
        # Rows that were read and not handed out, and the row that comes after them.
        self._ahead = source.head
        self._row: int | None = None

    def rows(self, start: int, stop: int) -> Iterator[pd.DataFrame]:
        """Yield the rows from `start` up to `stop` (exclusive) in blocks that are cut at `start` and every `size` rows
        from there, wherever the cursor comes from: who asks for the same range gets the same blocks."""
        while start < stop:
            end = min(start + self.size, stop)
            yield self._take(start, end)
            start = end

    def _take(self, start: int, stop: int) -> pd.DataFrame:
        first = self._row if self._ahead.empty else int(self._ahead.index[0])
        if first is None or start < first:
            self._blocks, self._ahead, self._row = self.source.blocks(self.size, start), self.source.head, start
        pieces = []
        while True:
            kept = self._ahead.loc[start : stop - 1]
            if len(kept):
                pieces.append(kept)
            if self._row is not None and self._row >= stop:
                break
            self._ahead = next(self._blocks)
            self._row = int(self._ahead.index[-1]) + 1
        self._ahead = self._ahead.loc[stop:]
        return pieces[0] if len(pieces) == 1 else pd.concat(pieces)


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
