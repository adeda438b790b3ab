"""One text as the rows that a model reads of it, with the place of every token; for looking closely at few texts."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import numpy as np

from sentiment_hf.data.chunks import kept_chunks
from sentiment_hf.data.tokenization import TextSettings, cleaned_texts, kept_positions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Comparing looks at each pair of equal characters, and more than once.
_MOST_TO_COMPARE, _MOST_PAIRS = 5000, 500_000


@dataclass(frozen=True)
class Chunk:
    """What a model reads at once: a text after truncation, or one of its chunks.

    Attributes:
        fields: the tokenizer's fields, each `[1, tokens]`.
        offsets: of each token where it begins and ends in the cleaned text; None for special tokens and for those that
            are white space alone.
        chunk_idx: its place among the chunks of the text, from 0.
    """

    fields: dict[str, np.ndarray]
    offsets: tuple[tuple[int, int] | None, ...]
    chunk_idx: int

    @property
    def content(self) -> np.ndarray:
        """Positions of the tokens that stand for text."""
        return np.array([place for place, offset in enumerate(self.offsets) if offset is not None], dtype=np.int64)

    @property
    def span(self) -> tuple[int, int]:
        """Where it begins and ends in the cleaned text; truncation in the middle is inside."""
        inside = [offset for offset in self.offsets if offset is not None]
        return (inside[0][0], inside[-1][1]) if inside else (0, 0)


def read_chunks(tokenizer: PreTrainedTokenizerBase, text: str, settings: TextSettings) -> tuple[str, list[Chunk], int]:
    """Cut a text as training and prediction cut it.

    Returns:
        The cleaned text, its chunks (without sliding windows a single one), and the number of chunks before any was
        left out.
    """
    cleaned = cleaned_texts([text], settings)[0]
    encoded = tokenizer(
        [cleaned], truncation=False, return_special_tokens_mask=True, return_offsets_mapping=True, verbose=False
    )
    mask, offsets = encoded.pop("special_tokens_mask")[0], encoded.pop("offset_mapping")[0]
    if settings.is_sliding:
        count, chosen = kept_chunks(mask, settings)
    else:
        positions = kept_positions(mask, settings)
        count, chosen = 1, [(0, list(range(len(mask))) if positions is None else positions)]
    # A tokenizer of SentencePiece's kind begins with a token that is a space alone and reports a character for it.
    blank = {token for token in set(encoded["input_ids"][0]) if not tokenizer.decode([token]).strip()}
    silent = [special or token in blank for special, token in zip(mask, encoded["input_ids"][0], strict=True)]
    chunks = []
    for place, positions in chosen:
        fields = {name: np.array([[rows[0][position] for position in positions]]) for name, rows in encoded.items()}
        spans = tuple(None if silent[position] else tuple(offsets[position]) for position in positions)
        chunks.append(Chunk(fields, spans, place))
    return cleaned, chunks, count


def align(given: str, cleaned: str) -> list[int | None] | None:
    """Which character of the text as given each character of the cleaned text comes from.

    Returns:
        One place a character, None for those that cleaning put in; or None where too much was changed to tell.
    """
    # Cleaning mostly makes one plain character out of one full-width character, which is told exactly.
    pairs = [(char, place) for place, char in enumerate(given) for char in unicodedata.normalize("NFKC", char)]
    plain = "".join(char for char, _ in pairs)
    for text, places in ((given, list(range(len(given)))), (plain, [place for _, place in pairs])):
        if text == cleaned:
            return list(places)
    counts = Counter(plain)
    pairs_of_equals = sum(counts[char] * count for char, count in Counter(cleaned).items())
    if max(len(plain), len(cleaned)) > _MOST_TO_COMPARE or pairs_of_equals > _MOST_PAIRS:
        return None
    found: list[int | None] = [None] * len(cleaned)
    matcher = SequenceMatcher(None, plain, cleaned, autojunk=False)
    for kind, start, end, to, to_end in matcher.get_opcodes():
        # A replacement of the same length is another script's character for each, as traditional -> simplified.
        if kind == "equal" or (kind == "replace" and end - start == to_end - to):
            found[to:to_end] = [pairs[place][1] for place in range(start, end)]
    return found


def move_span(span: tuple[int, int], cleaned: str, places: list[int | None]) -> tuple[int, int] | None:
    """Map a span of the cleaned text to the text as given; None where one of its characters is not there.

    White space that cleaning put in, which some tokenizers count to the token behind it, is passed over.
    """
    inside = [places[at] for at in range(*span) if not (cleaned[at].isspace() and places[at] is None)]
    there = [place for place in inside if place is not None]
    return (min(there), max(there) + 1) if there and len(there) == len(inside) else None
