"""When two texts count as the same: the rule behind every count of duplicates and leaks, and behind the split."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any

_NOT_WORD = re.compile(r"[\W_]+")


def matching_key(text: Any) -> str:
    """Letters, digits and Han characters of a text after NFKC and lower-casing.

    Two texts with the same key are the same text with other punctuation, spacing, case or width. Texts without any
    letter, and missing ones (None, NaN), share the empty key.
    """
    return _NOT_WORD.sub("", unicodedata.normalize("NFKC", text if isinstance(text, str) else "").lower())


def text_fraction(key: str, seed: int) -> float:
    """Map a key to a number in [0, 1) that depends on the key and the seed alone, evenly spread over keys."""
    digest = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
