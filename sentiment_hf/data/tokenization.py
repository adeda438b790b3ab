"""Tokenize text the same way for training and prediction: clean it, then truncate it or split it into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.utils.exceptions import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SLIDING = "sliding"
AGGREGATIONS = ("mean", "max", "logsumexp")
# Of a BERT; tokenizers with others are cut to what is left.
SPECIAL_TOKENS = 2
TRUNCATIONS = ("right", "left", "head_tail", SLIDING)


@dataclass(frozen=True)
class TextSettings:
    """Everything between a raw text and its `input_ids`; saved in the model's config.

    Attributes:
        cleaning: the cleaning switches.
        max_length: tokens kept, special ones included.
        truncation: `right` keeps the beginning, `left` the end, `head_tail` both; `sliding` cuts a long text into
            chunks of `max_length` tokens and keeps all of them (see `sentiment_hf.data.chunks`).
        head_share: share of the content tokens that `head_tail` takes from the beginning (the rest from the end), after
            Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?".
        stride: tokens that neighbouring chunks have in common; None for a quarter of `max_length`.
        max_chunks: chunks of a document that are kept at most; None for all.
        chunk_choice: which these are: `first`, `spread` or `head_tail`.
        aggregation: how the logits of the chunks become those of the document: `mean`, `max` or `logsumexp`.
    """

    cleaning: Cleaning = field(default_factory=Cleaning)
    max_length: int = 128
    truncation: str = "right"
    head_share: float = 0.5
    stride: int | None = None
    max_chunks: int | None = None
    chunk_choice: str = "first"
    aggregation: str = "mean"

    def __post_init__(self) -> None:
        if self.truncation not in TRUNCATIONS:
            raise InputError(f"truncation {' | '.join(TRUNCATIONS)}", repr(self.truncation), "Use one of these names.")
        if self.max_length < 3:
            raise InputError("max_length of at least 3", str(self.max_length), "Two of the tokens are special ones.")
        if not 0 < self.head_share < 1:
            raise InputError("head_share between 0 and 1", str(self.head_share), "0.5 keeps both ends alike.")
        if self.chunk_choice not in CHUNK_CHOICES:
            expected = f"chunk_choice {' | '.join(CHUNK_CHOICES)}"
            raise InputError(expected, repr(self.chunk_choice), "Use one of these names.")
        if self.aggregation not in AGGREGATIONS:
            expected = f"aggregation {' | '.join(AGGREGATIONS)}"
            raise InputError(expected, repr(self.aggregation), "Use one of these names.")
        if self.stride is not None and not 0 <= self.stride < self.max_length - SPECIAL_TOKENS:
            expected = f"a stride (overlap) from 0 to below the chunk's {self.max_length - SPECIAL_TOKENS} tokens"
            raise InputError(expected, str(self.stride), "A quarter of max_length is usual.")
        if self.max_chunks is not None and self.max_chunks < 1:
            raise InputError("max_chunks of at least 1", str(self.max_chunks), "Leave it out for all chunks.")

    @property
    def is_sliding(self) -> bool:
        return self.truncation == SLIDING

    @property
    def overlap(self) -> int:
        """`stride` with its default."""
        return self.max_length // 4 if self.stride is None else self.stride

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> TextSettings:
        known = {item.name for item in fields(cls)} - {"cleaning"}
        cleaning = Cleaning.from_dict(saved.get("cleaning"))
        return cls(cleaning=cleaning, **{key: value for key, value in saved.items() if key in known})


def cleaned_texts(texts: Iterable[str], settings: TextSettings) -> list[str]:
    """Texts as the tokenizer gets them."""
    # A lone surrogate is no character and the tokenizer refuses it; it is encoded as a question mark.
    return [clean(text, settings.cleaning).encode("utf-8", "replace").decode("utf-8") for text in texts]


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], settings: TextSettings
) -> dict[str, list[list[int]]]:
    """Clean, tokenize and cut texts.

    Returns:
        The tokenizer's fields (`input_ids`, `attention_mask`, and `token_type_ids` where it has them), one list of at
        most `max_length` integers per text, special tokens in place, not padded.
    """
    if settings.is_sliding:
        raise ValueError("chunks are cut by sentiment_hf.data.chunks.encode_chunks")
    encoded = tokenizer(
        cleaned_texts(texts, settings), truncation=False, return_special_tokens_mask=True, verbose=False
    )
    masks = encoded.pop("special_tokens_mask")
    kept = [kept_positions(mask, settings) for mask in masks]
    return {
        name: [
            values if positions is None else [values[position] for position in positions]
            for values, positions in zip(rows, kept, strict=True)
        ]
        for name, rows in encoded.items()
    }


def kept_positions(special_tokens_mask: list[int], settings: TextSettings) -> list[int] | None:
    """Positions of a row's tokens that survive the cut, or None where nothing is cut."""
    length = len(special_tokens_mask)
    if length <= settings.max_length:
        return None
    prefix = special_tokens_mask.index(0)
    suffix = special_tokens_mask[::-1].index(0)
    budget = settings.max_length - prefix - suffix
    head_share = {"right": 1.0, "left": 0.0, "head_tail": settings.head_share}[settings.truncation]
    head = round(budget * head_share)
    tail = budget - head
    return [*range(prefix + head), *range(length - suffix - tail, length)]


CHUNK_CHOICES = ("first", "spread", "head_tail")


def chunk_bounds(length: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Where the chunks over a document begin and end.

    As tokenizers define it, `stride` is the overlap: each chunk but the first begins `stride` tokens before the end of
    the one before it. Every token is in at least one chunk, and the last chunk ends with the document.

    Args:
        length: content tokens of the document.
        size: content tokens of a chunk, at least 1.
        stride: tokens that neighbours have in common, at least 0 and below `size`.

    Returns:
        `(start, end)` for each, in order; one empty chunk for an empty document.
    """
    bounds = [(0, min(size, length))]
    while bounds[-1][1] < length:
        start = bounds[-1][1] - stride
        bounds.append((start, min(start + size, length)))
    return bounds


def choose_chunks(count: int, limit: int | None, choice: str) -> Sequence[int]:
    """Which of a document's chunks are kept.

    Args:
        count: chunks of the document.
        limit: chunks kept at most; None for all.
        choice: `first`, `spread` (evenly over the document, both ends among them) or `head_tail` (half from the
            beginning, the larger one of an odd number, and the rest from the end).

    Returns:
        Places, rising.
    """
    if limit is None or count <= limit:
        return range(count)
    if choice == "first":
        return range(limit)
    if choice == "spread":
        return np.linspace(0, count - 1, limit).round().astype(int).tolist()
    head = limit - limit // 2
    return [*range(head), *range(count - (limit - head), count)]


EXPLANATION = "explanation"
# Of `max_length`, what an explanation may take at most.
_SHARE = 0.25


def with_explanations(
    encoded: dict[str, list[list[int]]],
    explanations: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    settings: TextSettings,
) -> dict[str, list[list[int]]]:
    """Rows as `encode` gives them -> `[CLS] text [SEP] explanation [SEP]`, the explanation under token type 1.

    Rows with an empty explanation stay as they are. Where both do not fit into `max_length`, the explanation keeps a
    quarter of it at most and the text is cut on the right.

    Raises:
        InputError: a tokenizer without a separator.
    """
    separator = tokenizer.sep_token_id
    if separator is None:
        found = type(tokenizer).__name__
        raise InputError("a tokenizer with a separator, for explanations", found, "Leave `explanations` out.")
    room = max(int(settings.max_length * _SHARE) - 1, 1)
    texts = cleaned_texts(explanations, settings)
    added = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    joined: dict[str, list[list[int]]] = {name: [] for name in encoded}
    for row, ids in enumerate(added):
        second = [*ids[:room], separator] if ids else []
        for name, rows in encoded.items():
            tail = second if name == "input_ids" else [1] * len(second)
            first = rows[row]
            cut = len(first) + len(second) - settings.max_length
            # The last token of the first segment is its separator.
            kept = first if cut <= 0 else [*first[: len(first) - 1 - cut], first[-1]]
            joined[name].append([*kept, *tail])
    return joined
