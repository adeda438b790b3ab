"""Predictions of a classifier as objects, as JSON and as lines of text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

# As transformers' metrics and most papers decide on a label of several.
LABEL_THRESHOLD = 0.5
GIVEN = "given"
# Characters of a long text that a terminal shows.
EXCERPT = 120
MAX_SHOWN = 2000


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class ChunkScore:
    """A chunk of a long text and how strongly it speaks for a label.

    Attributes:
        text: the chunk as the model read it, after cleaning.
        start: where it begins in the text that was given, in characters, or in the cleaned one; see `offsets_in`.
        end: where it ends, exclusive.
        chunk_idx: its place among the chunks of the text, from 0.
        logit: of the label that the whole text was given.
        offsets_in: `given`, or `cleaned` where cleaning changed too much to tell the place.
    """

    text: str
    start: int
    end: int
    chunk_idx: int
    logit: float
    offsets_in: str = GIVEN


@dataclass(frozen=True)
class Prediction:
    """The prediction for one text with one label.

    Attributes:
        text: as it was given; None where it was missing.
        label: name of the most probable label, or None where there is no text to judge.
        probability: of that label.
        top: the most probable labels with their probabilities, in descending order.
        reason: why there is no label, or None.
        chunks: where they were asked for, the chunks that speak most for the label, in descending order.
        num_chunks: chunks that the text has; None where chunks were not asked about.
        num_chunks_read: as many of them as the model's `max_chunks` lets it read.
    """

    text: str | None
    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...] = field(default=())
    reason: str | None = None
    chunks: tuple[ChunkScore, ...] = ()
    num_chunks: int | None = None
    num_chunks_read: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `text`, `label`, `probability`, `top`, `reason` where there is one, and
        `num_chunks`, `num_chunks_read` and `chunks` where they were asked for."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        fields: dict[str, Any] = {"text": self.text, "label": self.label, "probability": self.probability, "top": top}
        if self.num_chunks is not None:
            fields |= {"num_chunks": self.num_chunks, "num_chunks_read": self.num_chunks_read}
            fields["chunks"] = [asdict(chunk) for chunk in self.chunks]
        return fields if self.reason is None else fields | {"reason": self.reason}

    def __str__(self) -> str:
        if self.label is None:
            return f"Text: {self.text or ''}\nPred: – ({self.reason})"
        top = ", ".join(f"{label}={probability:.3f}" for label, probability in self.top)
        text = self.text or ""
        # A review is shown whole; an article, or whatever is as long, by its beginning.
        whole = len(text) <= (MAX_SHOWN if self.num_chunks is None else EXCERPT)
        shown = text if whole else f"{text[:EXCERPT]}… ({len(text):,} characters)"
        lines = [f"Text: {shown}", f"Pred: {self.label} (conf={self.probability:.2f})", f"Top-{len(self.top)}: {top}"]
        if self.num_chunks_read != self.num_chunks:
            lines.append(f"Read: {self.num_chunks_read:,} of {self.num_chunks:,} chunks, the model's max_chunks")
        for chunk in self.chunks:
            place = f"chunk {chunk.chunk_idx + 1} of {self.num_chunks}, characters {chunk.start:,} to {chunk.end:,}"
            place += "" if chunk.offsets_in == GIVEN else " of the cleaned text"
            excerpt = chunk.text if len(chunk.text) <= EXCERPT else f"{chunk.text[:EXCERPT]}…"
            lines.append(f"  {place} (logit {chunk.logit:.2f}): {' '.join(excerpt.split())}")
        return "\n".join(lines)

    def row(self) -> dict[str, Any]:
        """As columns of a table."""
        return {"predicted_label": self.label, "probability": self.probability, "reason": self.reason}


@dataclass(frozen=True)
class AspectPrediction:
    """The prediction for one text with several aspects.

    Attributes:
        text: as it was given; None where it was missing.
        aspects: those that are mentioned -> `{"label": …, "probability": …}`, in the task's order.
        rating: stars, 1 to 5, or None where the model has no rating or there is no text to judge.
        expected_rating: the rating's expectation, in stars.
        reason: why there is no prediction, or None.
    """

    text: str | None
    aspects: dict[str, dict[str, Any]] = field(default_factory=dict)
    rating: int | None = None
    expected_rating: float | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `text`, `aspects`, `rating` and `expected_rating` where there is one, and `reason` likewise."""
        fields: dict[str, Any] = {"text": self.text, "aspects": self.aspects}
        if self.rating is not None:
            fields |= {"rating": self.rating, "expected_rating": self.expected_rating}
        return fields if self.reason is None else fields | {"reason": self.reason}

    def row(self) -> dict[str, Any]:
        """As columns of a table: labels of the mentioned aspects under their names."""
        labels = {f"predicted_{name}": value["label"] for name, value in self.aspects.items()}
        rating = {"predicted_rating": self.rating, "expected_rating": self.expected_rating}
        return labels | (rating if self.rating is not None else {}) | {"reason": self.reason}

    def __str__(self) -> str:
        lines = [f"Text: {self.text or ''}"]
        if self.reason is not None:
            return f"{lines[0]}\nPred: – ({self.reason})"
        lines += [
            f"  {name}: {value['label']} (conf={value['probability']:.2f})" for name, value in self.aspects.items()
        ]
        if not self.aspects:
            lines.append("  no aspect mentioned")
        if self.rating is not None:
            lines.append(f"Stars: {self.rating} (expected {self.expected_rating:.1f})")
        return "\n".join(lines)


@dataclass(frozen=True)
class ScorePrediction:
    """The prediction of a model from elsewhere that scores each of its labels for itself.

    Attributes:
        text: as it was given; None where it was missing.
        scores: label -> its score, in the order of the model's labels: of several labels their probabilities, else what
            `pipeline()` calls the score. Empty where there is no text to judge.
        labels: of several labels those with a probability above 0.5, the most probable first; None for a model of
            scores alone, or where there is no text to judge.
        reason: why there is no prediction, or None.
    """

    text: str | None
    scores: dict[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `text` with `labels` and `probabilities` of several labels, with `score` of a model of one output,
        with `scores` of a regression with several, or with `reason`."""
        if self.reason is not None:
            return {"text": self.text, "reason": self.reason}
        if self.labels is not None:
            return {"text": self.text, "labels": list(self.labels), "probabilities": self.scores}
        if len(self.scores) == 1:
            return {"text": self.text, "score": next(iter(self.scores.values()))}
        return {"text": self.text, "scores": self.scores}

    def row(self) -> dict[str, Any]:
        """As columns of a table: the labels as a JSON list, and a column for each one's score."""
        names = score_columns(tuple(self.scores), self.labels is not None)
        values = dict(zip(names, self.scores.values(), strict=True))
        chosen = {} if self.labels is None else {"predicted_labels": json.dumps(self.labels, ensure_ascii=False)}
        return chosen | values | {"reason": self.reason}

    def __str__(self) -> str:
        text = self.text or ""
        lines = [f"Text: {text if len(text) <= MAX_SHOWN else f'{text[:EXCERPT]}… ({len(text):,} characters)'}"]
        if self.reason is not None:
            return f"{lines[0]}\nPred: – ({self.reason})"
        shown = ", ".join(f"{label}={score:.3f}" for label, score in self.scores.items())
        if self.labels is not None:
            lines += [f"Pred: {', '.join(self.labels) or f'no label above {LABEL_THRESHOLD}'}", f"All: {shown}"]
        else:
            lines.append(f"Score: {shown}")
        return "\n".join(lines)


AnyPrediction = Prediction | AspectPrediction | ScorePrediction


def score_columns(labels: tuple[str, ...], is_multi_label: bool) -> tuple[str, ...]:
    """Name the columns that scores fill in a table, in the order of the labels."""
    if is_multi_label:
        return tuple(f"probability_{label}" for label in labels)
    return ("score",) if len(labels) == 1 else tuple(f"score_{label}" for label in labels)
