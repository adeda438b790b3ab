"""Long documents become chunks that a model can read, each with special tokens around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sentiment_hf.data.tokenization import TextSettings, cleaned_texts
from sentiment_hf.data.windows import choose_chunks, chunk_bounds

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
