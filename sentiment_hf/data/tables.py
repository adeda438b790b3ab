"""Tables from files: csv, tsv, txt, json, jsonl, parquet and workbooks, each also gzipped."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from sentiment_hf.data.delimited import rows_of
from sentiment_hf.data.encodings import codec_of
from sentiment_hf.data.file_kinds import DELIMITED, FASTTEXT, FASTTEXT_MARK, open_bytes, table_kind
from sentiment_hf.data.json_rows import json_rows, parsed_line
from sentiment_hf.data.quoting import find_layout
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.workbooks import read_workbook
from sentiment_hf.exceptions import InputError, MissingExtraError

_COMPLAINT = 300


def decode(data: bytes, encoding: str, name: str) -> str:
    """File content as text, without a byte order mark.

    Args:
        data: the raw bytes.
        encoding: see `codec_of`.
        name: the file, for the message.

    Raises:
        InputError: the bytes are not in that encoding.
    """
    return data.decode(codec_of(lambda: io.BytesIO(data), encoding, name))


def read_table(path: str | Path, form: TableFormat | None = None) -> pd.DataFrame:
    """All columns of a csv, tsv, txt, json, jsonl, parquet or workbook file, each also gzipped, known by its content.

    Cells of csv, tsv and txt stay text; see `sentiment_hf.data.delimited` for their dialect. A .txt is a table where
    `form` says how, or where its lines begin with fastText's `__label__`.

    Raises:
        InputError: the file is missing, empty, of an unknown kind, undecodable, or malformed.
        MissingExtraError: of a workbook, where the extra `excel` is not installed.
    """
    path, form = Path(path), form or TableFormat()
    with wrap_read_errors("table", path):
        kind = table_kind(path, form)
    with wrap_read_errors(kind, path):
        frame = _read(path, kind, form)
    twice = next((str(name) for name in frame.columns[frame.columns.duplicated()]), None)
    if twice is not None:
        raise InputError(f"columns of different names in {path}", f"{twice!r} twice", "Rename one of them.")
    if frame.empty:
        raise InputError(f"rows in {path}", "a header and nothing below it", "Check what wrote the file.")
    return frame


def _read(path: Path, kind: str, form: TableFormat) -> pd.DataFrame:
    name = str(path)
    if kind in DELIMITED:
        codec = codec_of(lambda: open_bytes(path), form.encoding, name)
        layout = find_layout(lambda: open_bytes(path), codec, name, kind, form)
        return pd.DataFrame(rows_of(lambda: open_bytes(path), layout), columns=list(layout.names), dtype=object)
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    if kind == "parquet":
        return pd.read_parquet(io.BytesIO(data))
    if kind == "xlsx":
        return read_workbook(data, name, form.column_names)
    text = decode(data, form.encoding, name)
    if kind == "json":
        return pd.DataFrame(json_rows(text, name), dtype=object)
    # str.splitlines would also break at U+2028 and U+0085, which JSON strings may hold unescaped.
    lines = ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())
    if kind == FASTTEXT:
        return pd.DataFrame([_fasttext_row(line) for _, line in lines], columns=["label", "text"], dtype=object)
    return pd.DataFrame([parsed_line(line, number, name) for number, line in lines], dtype=object)


def _fasttext_row(line: str) -> tuple[str | list[str] | None, str]:
    """Split a line of fastText's into the labels at its beginning and its text."""
    labels, text = [], line.strip()
    while text.startswith(FASTTEXT_MARK):
        label, _, text = text.partition(" ")
        labels.append(label.removeprefix(FASTTEXT_MARK))
        text = text.lstrip()
    return (labels if len(labels) > 1 else labels[0] if labels else None), text


@contextmanager
def wrap_read_errors(kind: str, path: Path) -> Iterator[None]:
    """Let what a reader of tables complains of be an `InputError` that names the file."""
    try:
        yield
    except (InputError, MissingExtraError):
        raise
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"a whole gzip file at {path}", str(error), "Fetch the file again.") from None
    except Exception as error:
        # What a file may hold is anybody's choice, and each reader has its own dozen of complaints.
        said = " ".join(str(error).split())[:_COMPLAINT] or type(error).__name__
        raise InputError(f"well-formed {kind} in {path}", said, "Mend the file there.") from None


def read_document(path: str | Path, encoding: str = "auto") -> str:
    """Read a text file as one document.

    Raises:
        InputError: the file is missing, empty or undecodable.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"a text file at {path}", "nothing there", "Check the path.")
    text = decode(path.read_bytes(), encoding, str(path))
    if not text.strip():
        raise InputError(f"text in {path}", "an empty file", "Check what wrote the file.")
    return text
