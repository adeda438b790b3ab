"""Detect the format of a table file from its content, its extension and the options."""

from __future__ import annotations

import gzip
import json
import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from sentiment_hf.config.values import parse_value
from sentiment_hf.utils.exceptions import InputError

# What cannot be typed easily has a name; "\\t" is how a shell passes a tab that was written as \t.
_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_NAMED = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a vertical bar", " ": "a space"}


@dataclass(frozen=True)
class TableFormat:
    r"""How a table is read.

    Attributes:
        encoding: `auto`, or any of Python's codecs for text.
        separator: between the cells of a csv, tsv or txt, one character or several (`_!_`); None: found in the file.
            `tab`, `comma`, `semicolon`, `pipe` and `space` may be written as words.
        column_names: of a table without a header line; None: the first line names the columns.

    >>> TableFormat(separator="tab").separator
    '\t'
    """

    encoding: str = "auto"
    separator: str | None = None
    column_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        separator = self.separator
        if separator is not None:
            separator = _SEPARATORS.get(str(separator).lower(), str(separator))
            if not separator or any(mark in separator for mark in '"\r\n'):
                remedy = "Write it as it stands between the cells, or tab, comma, semicolon, pipe, space."
                raise InputError("a separator without quotation marks and line ends", repr(self.separator), remedy)
            object.__setattr__(self, "separator", separator)
        names = self.column_names
        if names is not None and (not names or not all(names) or len(set(names)) < len(names)):
            found = ", ".join(names) or "none"
            raise InputError("a different name for each column in column_names", found, "Write them as text,label.")

    @classmethod
    def from_args(cls, args: Any) -> Self:
        """Take `encoding`, `separator` and `column_names` of a command line or of a recipe's data keys."""
        return cls(args.encoding, args.separator, parse_column_names(args.column_names))


def parse_column_names(value: Any) -> tuple[str, ...] | None:
    """Names as a command line gives them (`text,label`), or as a list, in YAML or read from it already."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            value = parse_value(value, "column_names", (list,))
        else:
            value = value.replace("，", ",").split(",")
    elif value is not None and not isinstance(value, list | tuple):
        raise InputError("a list for column_names", repr(value), "Write it as [text, label].")
    return None if value is None else tuple(str(name).strip() for name in value)


def separator_name(separator: str) -> str:
    """As a sentence says it."""
    return _NAMED.get(separator, repr(separator))


logger = logging.getLogger(__name__)

FILE_KINDS = ("csv", "tsv", "txt", "json", "jsonl", "parquet", "xlsx", "xls")
DELIMITED = ("csv", "tsv", "txt")
FASTTEXT, FASTTEXT_MARK = "fasttext", "__label__"
_OTHER_NAMES = {"ndjson": "jsonl", "jsonlines": "jsonl", "tab": "tsv", "xlsm": "xlsx", "xlsb": "xlsx"}
_GZIP, _ZIP, _OLE, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PAR1"
_FIRST_BYTES = 1 << 16
# A row of JSON Lines beyond it is read as one value with the file.
_LONGEST_FIRST_LINE = 1 << 24


def open_bytes(path: Path) -> BinaryIO:
    """Open the content of a file, unzipped if it is zipped, whatever the file's name says."""
    with path.open("rb") as file:
        is_zipped = file.read(2) == _GZIP
    return cast(BinaryIO, gzip.open(path)) if is_zipped else path.open("rb")


def file_kind(path: Path) -> str:
    """Tell the kind of a file by its ending, `.gz` aside.

    Raises:
        InputError: an ending that no reader knows.
    """
    suffixes = [suffix.lstrip(".").lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == "gz":
        suffixes.pop()
    kind = _OTHER_NAMES.get(suffixes[-1], suffixes[-1]) if suffixes else ""
    if kind not in FILE_KINDS:
        raise InputError(
            f"a file ending in {', '.join('.' + kind for kind in FILE_KINDS)} (or one of these with .gz)",
            path.name,
            "Convert the file, or rename it to the ending of what it holds.",
        )
    return kind


def table_kind(path: Path, form: TableFormat) -> str:
    """Tell the kind of a table by its content: `FILE_KINDS`, with `xlsx` for every workbook, or `fasttext`.

    Raises:
        InputError: no file, a kind that no reader knows, nothing in it, or a text without columns.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing there"
        raise InputError(f"a data file at {path}", found, "Check the path.")
    with open_bytes(path) as file:
        first = file.read(_FIRST_BYTES)
        if not first.strip() and not any(data.strip() for data in iter(lambda: file.read(_FIRST_BYTES), b"")):
            raise InputError(f"rows in {path}", "an empty file", "Check what wrote the file.")
    if first.startswith(_OLE) or (first.startswith(_ZIP) and _is_workbook(path)):
        kind = "xlsx"
    elif first.startswith(_PARQUET):
        kind = "parquet"
    else:
        kind = _text_kind(path, first, form)
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind in ("xlsx", "parquet", "csv") and _OTHER_NAMES.get(ending, ending) not in (
        kind,
        "xls" if kind == "xlsx" else kind,
    ):
        logger.warning("%s holds %s, and is read so", path, "a workbook" if kind == "xlsx" else kind)
    if form.column_names is not None and kind not in (*DELIMITED, "xlsx"):
        remedy = "The rows name their columns themselves: leave column_names out."
        raise InputError(f"a csv, tsv, txt or xlsx file for column_names at {path}", kind, remedy)
    return kind


def is_document(path: Path, form: TableFormat) -> bool:
    """Whether a .txt is one document: it is a table where its columns are told, or as fastText's lines of labels."""
    if path.suffix.lower() != ".txt" or form.separator is not None or form.column_names is not None:
        return False
    return not path.is_file() or not _first_line(path).startswith(FASTTEXT_MARK.encode())


def _is_workbook(path: Path) -> bool:
    with open_bytes(path) as file:
        try:
            names = zipfile.ZipFile(file).namelist()
        except zipfile.BadZipFile:
            raise InputError(f"a whole workbook at {path}", "a damaged zip file", "Fetch the file again.") from None
    if any(name.startswith("xl/workbook.") for name in names) or "content.xml" in names:
        return True
    found = f"a zip file with {', '.join(names[:3]) or 'nothing'}"
    raise InputError(f"a table at {path}", found, "Unpack it, and name the file in it.")


def _text_kind(path: Path, first: bytes, form: TableFormat) -> str:
    kind = file_kind(path)
    if kind in ("xlsx", "xls"):
        if b"<html" in first[:1000].lower() or b"<table" in first[:1000].lower():
            remedy = "Open it in a spreadsheet program and save it as xlsx."
            raise InputError(f"a workbook at {path}", "a web page under that ending", remedy)
        return "csv"
    if kind == "txt" and form.separator is None and form.column_names is None:
        if _first_line(path).startswith(FASTTEXT_MARK.encode()):
            return FASTTEXT
        remedy = "Say what is in it with --column_names and --separator (column_names:, separator: in a recipe)."
        raise InputError(f"a table at {path}", "a text without names of columns", remedy)
    if kind in ("json", "jsonl"):
        return _json_kind(path, kind)
    return kind


def _json_kind(path: Path, kind: str) -> str:
    """Lines of objects are `jsonl` and one value, or values over several lines, `json`, whichever the ending says."""
    line = _first_line(path)
    if line in (b"{", b"["):
        return "json"
    if kind == "jsonl" or not line.startswith(b"{") or len(line) >= _LONGEST_FIRST_LINE:
        return kind
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return kind
    return "jsonl" if _has_more_lines(path) else kind


def _first_line(path: Path) -> bytes:
    """Of the lines with something in them, without a byte order mark."""
    with open_bytes(path) as file:
        for line in iter(lambda: file.readline(_LONGEST_FIRST_LINE), b""):
            stripped = line.removeprefix(b"\xef\xbb\xbf").strip()
            if stripped:
                return stripped
    return b""


def _has_more_lines(path: Path) -> bool:
    with open_bytes(path) as file:
        lines = (line for line in iter(lambda: file.readline(_LONGEST_FIRST_LINE), b"") if line.strip())
        return next(lines, None) is not None and next(lines, None) is not None
