"""Tables from files: csv, tsv, json, jsonl and parquet, each also gzipped, in utf-8 or gb18030."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.encodings import codec_of
from sentiment_hf.exceptions import InputError

FILE_KINDS = ("csv", "tsv", "json", "jsonl", "parquet")
# JSON can spell half a surrogate pair, which is no character.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_COMPLAINT = 300


def file_kind(path: Path) -> str:
    """The kind of a file by its ending, `.gz` aside.

    Raises:
        InputError: an ending that no reader knows.
    """
    suffixes = [suffix.lstrip(".").lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == "gz":
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    if kind not in FILE_KINDS:
        raise InputError(
            f"a file ending in {', '.join('.' + kind for kind in FILE_KINDS)} (or one of these with .gz)",
            path.name,
            "Convert the file, or rename it to the ending of what it holds.",
        )
    return kind


def decode(data: bytes, encoding: str, name: str) -> str:
    """File content as text, without a byte order mark.

    Args:
        data: the raw bytes.
        encoding: one of `ENCODINGS`.
        name: the file, for the message.

    Raises:
        InputError: the bytes are not in that encoding.
    """
    return data.decode(codec_of(lambda: io.BytesIO(data), encoding, name))


def read_table(path: str | Path, encoding: str = "auto") -> pd.DataFrame:
    """All columns of a csv, tsv, json, jsonl or parquet file, each also gzipped; csv and tsv cells stay text.

    A tsv is read without quoting (a quotation mark in it is a character of the text), as the published Chinese sets
    are written; a csv follows RFC 4180.

    Raises:
        InputError: the file is missing, empty, of an unknown kind, undecodable, or malformed.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing there"
        raise InputError(f"a data file at {path}", found, "Check the path.")
    kind = file_kind(path)
    data = path.read_bytes()
    with whatever_is_wrong_said(kind, path):
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if not data.strip():
            raise InputError(f"rows in {path}", "an empty file", "Check what wrote the file.")
        frame = _READERS[kind](data, encoding, str(path))
    twice = next((str(name) for name in frame.columns[frame.columns.duplicated()]), None)
    if twice is not None:
        raise InputError(f"columns of different names in {path}", f"{twice!r} twice", "Rename one of them.")
    if frame.empty:
        raise InputError(f"rows in {path}", "a header and nothing below it", "Check what wrote the file.")
    return frame


@contextmanager
def whatever_is_wrong_said(kind: str, path: Path) -> Iterator[None]:
    """Let what a reader of tables complains of be an `InputError` that names the file."""
    try:
        with warnings.catch_warnings():
            # pandas would drop the cells that have no name above them: of a text with a comma all that follows it.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except InputError:
        raise
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"a whole gzip file at {path}", str(error), "Fetch the file again.") from None
    except pd.errors.ParserWarning:
        found, remedy = "rows with more cells than the header has names", "Quote texts that hold the separator."
        raise InputError(f"well-formed {kind} in {path}", found, remedy) from None
    except Exception as error:
        # What a file may hold is anybody's choice, and each reader has its own dozen of complaints.
        said = " ".join(str(error).split())[:_COMPLAINT] or type(error).__name__
        raise InputError(f"well-formed {kind} in {path}", said, "Mend the file there.") from None


def read_document(path: str | Path, encoding: str = "auto") -> str:
    """A text file as one document.

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


def _read_csv(data: bytes, encoding: str, name: str) -> pd.DataFrame:
    return pd.read_csv(
        io.StringIO(decode(data, encoding, name)), dtype=str, keep_default_na=False, index_col=False, low_memory=False
    )


def _read_tsv(data: bytes, encoding: str, name: str) -> pd.DataFrame:
    return pd.read_csv(
        io.StringIO(decode(data, encoding, name)),
        sep="\t",
        dtype=str,
        keep_default_na=False,
        index_col=False,
        quoting=csv.QUOTE_NONE,
        low_memory=False,
    )


def _read_json(data: bytes, encoding: str, name: str) -> pd.DataFrame:
    rows = _parse(decode(data, encoding, name))
    if isinstance(rows, dict) and isinstance(rows.get("data"), list):
        rows = rows["data"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"a list of objects in {name}", type(rows).__name__, "Write one object a row.")
    return pd.DataFrame(rows, dtype=object)


def _read_jsonl(data: bytes, encoding: str, name: str) -> pd.DataFrame:
    # str.splitlines would also break at U+2028 and U+0085, which JSON strings may hold unescaped.
    lines = enumerate(decode(data, encoding, name).split("\n"), start=1)
    return pd.DataFrame([parsed_line(line, number, name) for number, line in lines if line.strip()], dtype=object)


def parsed_line(line: str, number: int, name: str) -> dict[str, Any]:
    """A row of a jsonl file.

    Raises:
        InputError: it is no JSON object; the message has the number of the line.
    """
    try:
        row = _parse(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"one JSON object a line in {name}", f"line {number}: {error}", "Mend it.") from None
    if not isinstance(row, dict):
        found = f"a {type(row).__name__} on line {number}"
        raise InputError(f"one JSON object a line in {name}", found, "Write one object a line.")
    return row


def _parse(text: str) -> Any:
    """JSON, half surrogate pairs in it as question marks: neither tables nor files hold them."""
    value = json.loads(text)
    if _SURROGATE.search(text) is None:
        return value
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8"))


def _read_parquet(data: bytes, encoding: str, name: str) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(data))


_READERS: dict[str, Callable[[bytes, str, str], pd.DataFrame]] = {
    "csv": _read_csv,
    "tsv": _read_tsv,
    "json": _read_json,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}
