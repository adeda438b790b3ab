"""Read tables from csv, tsv, txt, json, jsonl, parquet and Excel files, with their encoding detected."""

from __future__ import annotations

import codecs
import gzip
import io
import logging
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from sentiment_hf.data.delimited import rows_of
from sentiment_hf.data.json_rows import json_rows, parsed_line
from sentiment_hf.data.quoting import find_layout
from sentiment_hf.data.table_format import DELIMITED, FASTTEXT, FASTTEXT_MARK, TableFormat, open_bytes, table_kind
from sentiment_hf.data.workbooks import read_workbook
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

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
        raise InputError(f"well-formed {kind} in {path}", said, "Fix the file there.") from None


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


logger = logging.getLogger(__name__)

BYTES_AT_ONCE = 1 << 20
# Supersets that programs mean by the narrower names; what only they have stands in files all the same.
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030", "big5": "cp950", "shift_jis": "cp932"}
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Among fewer Han characters nothing can be told.
_ENOUGH_HAN = 10
# Measured shares of characters of GB 2312's first level, the 3,755 most common: 0.99 and more of simplified Chinese,
# 0.69 of traditional, 0.48 to 0.53 of Big5 read as gb18030.
_SIMPLIFIED, _UNCOMMON = 0.8, 0.6
# Of Chinese in Big5 that was decoded as such, 0.99 stands in its first level, of gb18030 decoded so 0.57.
_BIG5 = 0.9
_KANA = 0.2


@dataclass(frozen=True)
class _Share:
    """How common the characters of a text are.

    Attributes:
        han: number of Han characters.
        gb2312: share of them in the first level of GB 2312.
        big5: share of them in the first level of Big5.
        kana: Japanese syllables, as a share of them and Han characters.
    """

    han: int
    gb2312: float
    big5: float
    kana: float

    @classmethod
    def of(cls, text: str) -> _Share:
        han = [character for character in text if "\u4e00" <= character <= "\u9fff"]
        kana = sum("\u3040" <= character <= "\u30ff" for character in text)
        first = {codec: sum(_is_first_level(character, codec) for character in han) for codec in ("gb2312", "big5")}
        number = max(len(han), 1)
        return cls(len(han), first["gb2312"] / number, first["big5"] / number, kana / max(kana + len(han), 1))


def _is_first_level(character: str, codec: str) -> bool:
    """Both sets have their common characters in rows of their own."""
    lead = character.encode(codec, "ignore")[:1]
    return b"\xb0" <= lead <= b"\xd7" if codec == "gb2312" else b"\xa4" <= lead <= b"\xc6"


def codec_of(open_bytes: Callable[[], BinaryIO], encoding: str, name: str) -> str:
    """Find the codec that decodes all of a file.

    Args:
        open_bytes: opens the content at its beginning; called once for each encoding that has to be tried.
        encoding: any of Python's codecs for text, or `auto`: a byte order mark, utf-8, gb18030 and, where gb18030 gives
            hardly a common character, Big5 and Shift-JIS are told apart. Chinese gb18030 is practically never valid
            utf-8, so the stricter encoding is tried first.
        name: the file, for messages.

    Returns:
        `utf-8-sig`, which takes utf-8 with and without the mark, `gb18030`, or another codec.

    Raises:
        InputError: the bytes are not in that encoding, or there is no such encoding.
    """
    asked = "auto" if encoding == "auto" else _codec_named(encoding)
    if asked == "auto" and (marked := _marked(open_bytes)) is not None:
        asked = marked
    if asked not in ("auto", "utf-8", "utf-8-sig", "gb18030"):
        wrong = _first_undecodable(open_bytes, asked)
        if wrong is not None:
            raise _undecodable(
                encoding if encoding != "auto" else asked, name, wrong, "Name another, or leave it to auto."
            )
        return asked
    wrong = _first_undecodable(open_bytes, "utf-8")
    if asked == "gb18030" and wrong is None and not _is_ascii(open_bytes):
        raise InputError(f"gb18030 text in {name}", "valid utf-8", "Set `encoding: utf-8` (or `auto`).")
    # A byte order mark is never part of the text, whichever of the two names was declared.
    if wrong is None:
        return "gb18030" if asked == "gb18030" else "utf-8-sig"
    wrong_gb18030 = _first_undecodable(open_bytes, "gb18030")
    if asked == "auto":
        found = _not_gb18030(open_bytes, name, wrong_gb18030 is None)
        if found is not None:
            return found
    if asked in ("auto", "gb18030") and wrong_gb18030 is None:
        _warn_of_uncommon(open_bytes, name, asked)
        return "gb18030"
    remedy = "Save the file as UTF-8, or name its encoding."
    if asked == "gb18030":
        wrong = wrong_gb18030
    elif wrong_gb18030 is None:
        remedy = "The bytes are valid gb18030: set `encoding: gb18030` (or `auto`)."
    assert wrong is not None
    raise _undecodable("utf-8" if asked == "auto" else encoding, name, wrong, remedy)


def _codec_named(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        # Of Python's codecs some turn bytes into bytes, and are refused here.
        b"ab".decode(name, "ignore")
    except (LookupError, ValueError):
        remedy = "Use auto, utf-8, gb18030, big5, utf-16 or another of Python's codecs."
        raise InputError("encoding auto, or the name of one", repr(encoding), remedy) from None
    return _WIDER.get(name, name)


def _undecodable(encoding: str, name: str, wrong: tuple[int, int], remedy: str) -> InputError:
    found = f"byte 0x{wrong[1]:02x} at offset {wrong[0]}, which is not {encoding}"
    return InputError(f"{encoding} text in {name}", found, remedy)


def _marked(open_bytes: Callable[[], BinaryIO]) -> str | None:
    """Tell the encoding by a byte order mark; utf-8's is left to the check of the whole file."""
    with open_bytes() as file:
        first = file.read(4)
    return next((codec for mark, codec in _MARKS.items() if first.startswith(mark)), None)


def _sample(open_bytes: Callable[[], BinaryIO], codec: str) -> str:
    with open_bytes() as file:
        return file.read(BYTES_AT_ONCE).decode(codec, "ignore")


def _not_gb18030(open_bytes: Callable[[], BinaryIO], name: str, is_valid: bool) -> str | None:
    """Big5 or Shift-JIS, where gb18030 does not fit and one of them does; said, as it is a guess.

    Raises:
        InputError: bytes that are half zeros, as utf-16 without its mark has them.
    """
    with open_bytes() as file:
        first = file.read(1 << 12)
    if first.count(0) > len(first) / 5:
        remedy = "It looks like utf-16 without a mark: set `encoding: utf-16-le` (--encoding utf-16-le)."
        raise InputError(f"text in {name}", "bytes of which many are zero", remedy)
    if is_valid and _Share.of(_sample(open_bytes, "gb18030")).gb2312 >= _SIMPLIFIED:
        return None
    for codec, said in (("cp950", "big5"), ("cp932", "shift_jis")):
        if _first_undecodable(open_bytes, codec) is not None:
            continue
        share = _Share.of(_sample(open_bytes, codec))
        fits = share.big5 >= _BIG5 if said == "big5" else share.kana >= _KANA
        if fits and share.han >= _ENOUGH_HAN:
            logger.warning("%s: read as %s, whose common characters it has; --encoding names another", name, said)
            return codec
    return None


def _warn_of_uncommon(open_bytes: Callable[[], BinaryIO], name: str, asked: str) -> None:
    share = _Share.of(_sample(open_bytes, "gb18030"))
    if share.han >= _ENOUGH_HAN and share.gb2312 < _UNCOMMON:
        said = "%s: read as gb18030, and only %.0f %% of its Chinese characters are common: is it big5 or shift_jis?"
        logger.warning(f"{said} --encoding names it" if asked == "auto" else said, name, 100 * share.gb2312)


def _first_undecodable(open_bytes: Callable[[], BinaryIO], codec: str) -> tuple[int, int] | None:
    """Offset and value of the first byte that the codec refuses; None where it takes all."""
    decoder = codecs.getincrementaldecoder(codec)()
    offset = 0
    with open_bytes() as file:
        while True:
            data = file.read(BYTES_AT_ONCE)
            # A character may have begun at the end of the piece before.
            pending = decoder.getstate()[0]
            try:
                decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                place = min(error.start, len(error.object) - 1)
                return offset - len(pending) + error.start, error.object[place]
            except UnicodeError:
                # utf-16 refuses a file without a byte order mark so.
                return offset, data[0] if data else 0
            if not data:
                return None
            offset += len(data)


def _is_ascii(open_bytes: Callable[[], BinaryIO]) -> bool:
    with open_bytes() as file:
        return all(data.isascii() for data in iter(lambda: file.read(BYTES_AT_ONCE), b""))
