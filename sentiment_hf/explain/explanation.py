"""The explanation of one prediction: its target, and scores of tokens, characters and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sentiment_hf.data.chunks import Chunk, align, move_span
from sentiment_hf.tasks import Task
from sentiment_hf.utils.exceptions import InputError

GIVEN, CLEANED = "given", "cleaned"


@dataclass(frozen=True)
class Target:
    """A label that is to be explained, and where its logits stand among a model's.

    Attributes:
        label: its name.
        index: its place among the labels that compete with it.
        first: the column at which these begin.
        count: how many they are.
        aspect: the aspect that the label is of; None for a model of one label.
    """

    label: str
    index: int
    first: int
    count: int
    aspect: str | None = None

    def log_odds(self, logits: np.ndarray) -> np.ndarray:
        """`[rows, width]` -> `[rows]`: the label's logit against those of all others, log(p / (1 - p)).

        A single logit means little: adding the same number to all of them changes no probability.
        """
        own = logits[:, self.first : self.first + self.count].astype(np.float64)
        others = np.delete(own, self.index, axis=1)
        highest = others.max(axis=1)
        return own[:, self.index] - highest - np.log(np.exp(others - highest[:, None]).sum(axis=1))

    def probability(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """`[rows, width]` -> the label's probability `[rows]`, as the predictor gives it."""
        return 1 / (1 + np.exp(-self.log_odds(logits / temperature)))


def choose_targets(task: Task, logits: np.ndarray, label: str | None, aspect: str | None) -> list[Target]:
    """Choose what to explain of one text.

    Args:
        task: of the model.
        logits: `[width]`, the model's for the text.
        label: name, or as in a data file; None for the one that the model gives.
        aspect: of a model with aspects; None for all that the model finds mentioned.

    Raises:
        InputError: a label or an aspect that the task does not have.
    """
    cells = {cell.name: cell for cell in task.class_cells()}
    if task.is_single_label and aspect is not None:
        raise InputError("a model of aspects, for an aspect", "one of one label", "Leave the aspect out.")
    if aspect is not None and aspect not in cells:
        raise InputError(f"an aspect among {', '.join(cells)}", repr(aspect), "Name one of these.")
    if label is not None and aspect is None and not task.is_single_label:
        raise InputError("an aspect that the label is of", f"{label!r} alone", "Name the aspect as well.")
    asked = None if label is None else task.id_of(label)
    if label is not None and asked is None:
        raise InputError(f"a label among {', '.join(task.labels)}", repr(label), "Name one of these.")
    targets = []
    for name, cell in cells.items():
        index = int(cell.ids(logits[None])[0]) if asked is None else asked
        if name == aspect or (aspect is None and index != task.unsaid):
            targets.append(Target(task.labels[index], index, cell.first, cell.width, name or None))
    return targets


@dataclass(frozen=True)
class ScoredSpan:
    """A part of a text and how much it speaks for the label (above 0) or against it (below)."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Attribution:
    """What a method says of the tokens of one chunk.

    Attributes:
        scores: `[tokens]`, special tokens included.
        completeness_error: how far the scores' sum is from the difference that they are to explain, as a share of it;
            None where the method promises no sum.
        steps: points on the path that were looked at, where the method goes along one.
    """

    scores: np.ndarray
    completeness_error: float | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Explanation:
    """Why a chunk speaks for a label, or against it.

    Attributes:
        text: what the offsets point into.
        offsets_in: `given`, or `cleaned` where cleaning changed too much to point into the text as given.
        method: how the scores were found.
        label: what is explained.
        aspect: the aspect that the label is of, or None.
        probability: of the label, in this chunk read alone.
        log_odds: log(p / (1 - p)) before any temperature; the scores of all methods but attention are in this unit.
        start: where the chunk begins in the text, in characters.
        end: where it ends, exclusive.
        chunk_idx: its place among the chunks of the text, from 0.
        num_chunks: chunks of the text.
        tokens: the tokens, in order.
        characters: the same scores, a token's shared equally among its characters.
        words: the same scores, summed over words; empty where no word splitter is installed.
        special: the score of special tokens, which stand for no text.
        exploratory: whether the method shows where the model looked rather than what decided.
        completeness_error: see `Attribution`.
        steps: see `Attribution`.
    """

    text: str
    offsets_in: str
    method: str
    label: str
    aspect: str | None
    probability: float
    log_odds: float
    start: int
    end: int
    chunk_idx: int
    num_chunks: int
    tokens: tuple[ScoredSpan, ...]
    characters: tuple[ScoredSpan, ...]
    words: tuple[ScoredSpan, ...]
    special: float
    exploratory: bool = False
    completeness_error: float | None = None
    steps: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def spans(self) -> tuple[ScoredSpan, ...]:
        """What a reader wants to see: words, or characters where there are none."""
        return self.words or self.characters


def explain_chunk(
    given: str,
    cleaned: str,
    chunk: Chunk,
    attribution: Attribution,
    **facts: Any,
) -> Explanation:
    """Build an `Explanation` from a method's scores.

    Args:
        given: the text as it came in.
        cleaned: the text that the chunk's offsets point into.
        chunk: what was read.
        attribution: what a method says of its tokens.
        facts: the other attributes of `Explanation`.
    """
    offsets = {place: offset for place, offset in enumerate(chunk.offsets) if offset is not None}
    scores = {place: float(attribution.scores[place]) for place in offsets}
    text, offsets_in, span = cleaned, CLEANED, chunk.span
    places = align(given, cleaned)
    if places is not None:
        moved = {place: move_span(offset, cleaned, places) for place, offset in offsets.items()}
        found = {place: offset for place, offset in moved.items() if offset is not None}
        if found and len(found) == len(offsets):
            text, offsets_in, offsets = given, GIVEN, found
            span = (min(start for start, _ in found.values()), max(end for _, end in found.values()))
    tokens = tuple(ScoredSpan(text[start:end], start, end, scores[place]) for place, (start, end) in offsets.items())
    characters = to_characters(text, tokens)
    return Explanation(
        text=text,
        offsets_in=offsets_in,
        start=span[0],
        end=span[1],
        chunk_idx=chunk.chunk_idx,
        tokens=tokens,
        characters=characters,
        words=to_words(text, characters),
        special=float(attribution.scores.sum()) - sum(scores.values()),
        completeness_error=attribution.completeness_error,
        steps=attribution.steps,
        **facts,
    )


def to_characters(text: str, tokens: Sequence[ScoredSpan]) -> tuple[ScoredSpan, ...]:
    """Tokens -> the characters under them, each with an equal share of its token's score."""
    scores: dict[int, float] = {}
    for token in tokens:
        for place in range(token.start, token.end):
            scores[place] = scores.get(place, 0.0) + token.score / (token.end - token.start)
    return tuple(ScoredSpan(text[place], place, place + 1, scores[place]) for place in sorted(scores))


def to_words(text: str, characters: Sequence[ScoredSpan]) -> tuple[ScoredSpan, ...]:
    """Characters -> words with the sums of their scores; empty where `rjieba`, which splits them, is not installed."""
    try:
        import rjieba
    except ImportError:
        return ()
    ends = [0, *(end for _, _, end in rjieba.tokenize(text.encode("utf-8", "replace").decode("utf-8")))]
    scored = {span.start: span.score for span in characters}
    words = []
    for start, end in pairwise(ends):
        inside = [scored[place] for place in range(start, end) if place in scored]
        if inside and text[start:end].strip():
            words.append(ScoredSpan(text[start:end], start, end, sum(inside)))
    return tuple(words)
