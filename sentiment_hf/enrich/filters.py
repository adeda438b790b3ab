"""Filters for generated texts, each with the reason for a refusal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sentiment_hf.data.decontamination import OverlapIndex
from sentiment_hf.data.splits import matching_key
from sentiment_hf.utils.exceptions import InputError

_HAN = re.compile("[一-鿿]")
_LETTER = re.compile(r"[^\W\d_]")
MIN_LENGTH, MAX_LENGTH = 4, 300
MIN_HAN = 0.5
# A model that has lost its way says the same over and over: so many characters, so many times.
LOOP_LENGTH, LOOPS = 6, 4


def repeats_itself(text: str) -> bool:
    """Whether some characters stand in a text again and again, as a small model writes that has lost its way."""
    starts = range(len(text) - LOOP_LENGTH + 1)
    counts = Counter(text[start : start + LOOP_LENGTH] for start in starts)
    return bool(counts) and max(counts.values()) >= LOOPS


@dataclass
class TextFilter:
    """Refuses texts one by one; what it passes counts as seen from then on.

    Attributes:
        evaluation: texts that are measured on.
        seen: texts that are there already.
        min_length: characters at least.
        max_length: characters at most.
        min_han: share of Han characters among the letters at least.
        counts: reason -> texts refused, and `passed`.
    """

    evaluation: OverlapIndex
    seen: Iterable[Any] = ()
    min_length: int = MIN_LENGTH
    max_length: int = MAX_LENGTH
    min_han: float = MIN_HAN
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if not 0 < self.min_length <= self.max_length or not 0 <= self.min_han <= 1:
            found = f"{self.min_length} to {self.max_length}, {self.min_han:g}"
            raise InputError("lengths that leave room and a share of Han from 0 to 1", found, "Fix these.")
        self._keys = {matching_key(text) for text in self.seen}

    def refuse(self, text: str) -> str | None:
        """Why a text may not be learned from, or None."""
        reason = self._reason(text)
        self.counts[reason or "passed"] += 1
        return reason

    def _reason(self, text: str) -> str | None:
        if not self.min_length <= len(text) <= self.max_length:
            return "too short or too long"
        letters = _LETTER.findall(text)
        if not letters or len(_HAN.findall(text)) < self.min_han * len(letters):
            return "another language"
        if repeats_itself(text):
            return "says the same over and over"
        key = matching_key(text)
        match = self.evaluation.match(key)
        if match is not None:
            return f"{match} to an evaluation text"
        if key in self._keys:
            return "repeated"
        self._keys.add(key)
        return None
