"""Which encoding a file is in, told in constant memory whatever the size of the file."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import BinaryIO

from sentiment_hf.exceptions import InputError

ENCODINGS = ("auto", "utf-8", "utf-8-sig", "gb18030")
BYTES_AT_ONCE = 1 << 20


def codec_of(open_bytes: Callable[[], BinaryIO], encoding: str, name: str) -> str:
    """The codec that decodes all of a file.

    Args:
        open_bytes: opens the content at its beginning; called once for each encoding that has to be tried.
        encoding: one of `ENCODINGS`; `auto` tells utf-8 (with or without a byte order mark) and gb18030 apart. Chinese
            gb18030 is practically never valid utf-8, so the stricter encoding is tried first.
        name: the file, for the message.

    Returns:
        `utf-8-sig`, which takes utf-8 with and without the mark, or `gb18030`.

    Raises:
        InputError: the bytes are not in that encoding.
    """
    if encoding not in ENCODINGS:
        raise InputError(f"encoding {' | '.join(ENCODINGS)}", repr(encoding), "Use one of these names.")
    wrong = _first_undecodable(open_bytes, "utf-8")
    if encoding == "gb18030" and wrong is None and not _is_ascii(open_bytes):
        raise InputError(f"gb18030 text in {name}", "valid utf-8", "Set `encoding: utf-8` (or `auto`).")
    # A byte order mark is never part of the text, whichever of the two names was declared.
    if wrong is None:
        return "gb18030" if encoding == "gb18030" else "utf-8-sig"
    wrong_gb18030 = _first_undecodable(open_bytes, "gb18030")
    if encoding in ("auto", "gb18030") and wrong_gb18030 is None:
        return "gb18030"
    remedy = "Save the file as UTF-8."
    if encoding == "gb18030":
        wrong = wrong_gb18030
    elif wrong_gb18030 is None:
        remedy = "The bytes are valid gb18030: set `encoding: gb18030` (or `auto`)."
    encoding = "utf-8" if encoding == "auto" else encoding
    assert wrong is not None
    found = f"byte 0x{wrong[1]:02x} at offset {wrong[0]}, which is not {encoding}"
    raise InputError(f"{encoding} text in {name}", found, remedy)


def _first_undecodable(open_bytes: Callable[[], BinaryIO], codec: str) -> tuple[int, int] | None:
    """Offset and value of the first byte that the codec refuses; None where it takes all."""
    decoder = codecs.getincrementaldecoder(codec)()
    offset = 0
    with open_bytes() as file:
        while True:
            data = file.read(BYTES_AT_ONCE)
            # A character may have begun at the end of the piece before.
            pending, _ = decoder.getstate()
            try:
                decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                return offset - len(pending) + error.start, error.object[error.start]
            if not data:
                return None
            offset += len(data)


def _is_ascii(open_bytes: Callable[[], BinaryIO]) -> bool:
    with open_bytes() as file:
        return all(data.isascii() for data in iter(lambda: file.read(BYTES_AT_ONCE), b""))
