"""Split long documents into overlapping chunks of tokens, and keep the position of every token."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment_hf.data.tokenization import TextSettings, choose_chunks, chunk_bounds, cleaned_texts, kept_positions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass
class Chunks:
    """The chunks of several documents, one after the other.

    Attributes:
        fields: the tokenizer's fields -> one list of integers a chunk, special tokens in place, not padded.
        documents: which of the texts each chunk is of, counted from 0.
        chunk_idx: the chunk's place among the chunks of its document.
        num_chunks: chunks of each document, those left out included.
        spans: where each chunk begins and ends in its cleaned text, in characters.
        texts: the cleaned texts.
    """

    fields: dict[str, list[list[int]]] = field(default_factory=dict)
    documents: list[int] = field(default_factory=list)
    chunk_idx: list[int] = field(default_factory=list)
    num_chunks: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.documents)


def encode_chunks(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], settings: TextSettings) -> Chunks:
    """Clean, tokenize and cut texts into chunks, as `settings` with `truncation: sliding` says.

    A document that fits is one chunk, the same as without sliding windows; an empty one is a chunk of special tokens.
    """
    chunks = Chunks(texts=cleaned_texts(texts, settings))
    encoded = tokenizer(
        chunks.texts,
        truncation=False,
        return_special_tokens_mask=True,
        return_offsets_mapping=True,
        verbose=False,
    )
    masks, offsets = encoded.pop("special_tokens_mask"), encoded.pop("offset_mapping")
    chunks.fields = {name: [] for name in encoded}
    for document, mask in enumerate(masks):
        count, chosen = kept_chunks(mask, settings)
        chunks.num_chunks.append(count)
        for place, positions in chosen:
            for name, rows in encoded.items():
                chunks.fields[name].append([rows[document][position] for position in positions])
            chunks.documents.append(document)
            chunks.chunk_idx.append(place)
            inside = [offsets[document][position] for position in positions if not mask[position]]
            chunks.spans.append((inside[0][0], inside[-1][1]) if inside else (0, 0))
    return chunks


def kept_chunks(special_tokens_mask: list[int], settings: TextSettings) -> tuple[int, list[tuple[int, list[int]]]]:
    """Find the chunks over a row of tokens and choose those that are kept.

    Returns:
        How many there are, and of each that is kept its place among them and the positions of its tokens, special ones
        included.
    """
    mask = special_tokens_mask
    # A text without content has special tokens alone.
    prefix = mask.index(0) if 0 in mask else len(mask)
    suffix = mask[::-1].index(0) if 0 in mask else 0
    size = settings.max_length - (prefix + suffix)
    bounds = chunk_bounds(len(mask) - prefix - suffix, max(size, 1), min(settings.overlap, max(size - 1, 0)))
    ends = (range(prefix), range(len(mask) - suffix, len(mask)))
    chosen = []
    for place in choose_chunks(len(bounds), settings.max_chunks, settings.chunk_choice):
        start, end = bounds[place]
        chosen.append((place, [*ends[0], *range(prefix + start, prefix + end), *ends[1]]))
    return len(bounds), chosen


def document_rows(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], settings: TextSettings) -> dict[str, Any]:
    """One row a document for `datasets.map`, whose chunks the collator lays side by side.

    Returns:
        The tokenizer's fields as lists of chunks, `chunk_idx` (of each), `num_chunks` (of the document, before any was
        left out) and `length` (tokens of the chunks that were kept), one entry a document.
    """
    chunks = encode_chunks(tokenizer, texts, settings)
    count = len(chunks.num_chunks)
    rows: dict[str, Any] = {name: [[] for _ in range(count)] for name in (*chunks.fields, "chunk_idx")}
    for row, document in enumerate(chunks.documents):
        for name, values in chunks.fields.items():
            rows[name][document].append(values[row])
        rows["chunk_idx"][document].append(chunks.chunk_idx[row])
    lengths = [sum(map(len, chunks)) for chunks in rows["input_ids"]]
    return {**rows, "num_chunks": chunks.num_chunks, "length": lengths}


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
