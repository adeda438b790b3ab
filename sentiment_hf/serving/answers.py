"""What a classifier says of a text, as objects, JSON and lines of text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from sentiment_hf.aspects import NOT_MENTIONED, VALUES, AspectTask, stars_of
from sentiment_hf.data.labelled import PredictedTask
from sentiment_hf.data.passages import align
from sentiment_hf.evaluation.calibration import Calibration
from sentiment_hf.evaluation.prediction import ScoredDocuments, softmax
from sentiment_hf.exceptions import InputError
from sentiment_hf.score_task import LABEL_THRESHOLD, ScoreTask
from sentiment_hf.tasks import Task

TOP_K = 3
GIVEN, CLEANED = "given", "cleaned"
# Characters of a long text that a terminal shows.
EXCERPT = 120
MAX_SHOWN = 2000


@dataclass(frozen=True)
class ChunkAnswer:
    """A passage of a long text and how strongly it speaks for a label.

    Attributes:
        text: the passage as the model read it, after cleaning.
        start: where it begins in the text that was given, in characters, or in the cleaned one; see `offsets_in`.
        end: where it ends, exclusive.
        chunk_idx: its place among the windows of the text, from 0.
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
    """The answer for one text with one label.

    Attributes:
        text: as it was given; None where it was missing.
        label: name of the most probable label, or None where there is no text to judge.
        probability: of that label.
        top: the most probable labels with their probabilities, in descending order.
        reason: why there is no label, or None.
        chunks: where they were asked for, the passages that speak most for the label, in descending order.
        num_chunks: windows that the text has; None where windows were not asked about.
        num_chunks_read: as many of them as the model's `max_chunks` lets it read.
    """

    text: str | None
    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...] = field(default=())
    reason: str | None = None
    chunks: tuple[ChunkAnswer, ...] = ()
    num_chunks: int | None = None
    num_chunks_read: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `text`, `label`, `probability`, `top`, `reason` where there is one, and
        `num_chunks`, `num_chunks_read` and `chunks` where they were asked for."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        answer: dict[str, Any] = {"text": self.text, "label": self.label, "probability": self.probability, "top": top}
        if self.num_chunks is not None:
            answer |= {"num_chunks": self.num_chunks, "num_chunks_read": self.num_chunks_read}
            answer["chunks"] = [asdict(chunk) for chunk in self.chunks]
        return answer if self.reason is None else answer | {"reason": self.reason}

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
            lines.append(f"Read: {self.num_chunks_read:,} of {self.num_chunks:,} windows, the model's max_chunks")
        for chunk in self.chunks:
            place = f"chunk {chunk.chunk_idx + 1} of {self.num_chunks}, characters {chunk.start:,} to {chunk.end:,}"
            place += "" if chunk.offsets_in == GIVEN else " of the cleaned text"
            passage = chunk.text if len(chunk.text) <= EXCERPT else f"{chunk.text[:EXCERPT]}…"
            lines.append(f"  {place} (logit {chunk.logit:.2f}): {' '.join(passage.split())}")
        return "\n".join(lines)

    def row(self) -> dict[str, Any]:
        """As columns of a table."""
        return {"predicted_label": self.label, "probability": self.probability, "reason": self.reason}


@dataclass(frozen=True)
class AspectPrediction:
    """The answer for one text with several aspects.

    Attributes:
        text: as it was given; None where it was missing.
        aspects: those that are mentioned -> `{"label": …, "probability": …}`, in the task's order.
        rating: stars, 1 to 5, or None where the model has no rating or there is no text to judge.
        expected_rating: the rating's expectation, in stars.
        reason: why there is no answer, or None.
    """

    text: str | None
    aspects: dict[str, dict[str, Any]] = field(default_factory=dict)
    rating: int | None = None
    expected_rating: float | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `text`, `aspects`, `rating` and `expected_rating` where there is one, and `reason` likewise."""
        answer: dict[str, Any] = {"text": self.text, "aspects": self.aspects}
        if self.rating is not None:
            answer |= {"rating": self.rating, "expected_rating": self.expected_rating}
        return answer if self.reason is None else answer | {"reason": self.reason}

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
    """The answer of a model from elsewhere that scores each of its labels for itself.

    Attributes:
        text: as it was given; None where it was missing.
        scores: label -> its score, in the order of the model's labels: of several labels their probabilities, else what
            `pipeline()` calls the score. Empty where there is no text to judge.
        labels: of several labels those with a probability above 0.5, the most probable first; None for a model of
            scores alone, or where there is no text to judge.
        reason: why there is no answer, or None.
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


Answer = Prediction | AspectPrediction | ScorePrediction


def score_columns(labels: tuple[str, ...], is_multi_label: bool) -> tuple[str, ...]:
    """The columns that scores fill in a table, in the order of the labels."""
    if is_multi_label:
        return tuple(f"probability_{label}" for label in labels)
    return ("score",) if len(labels) == 1 else tuple(f"score_{label}" for label in labels)


def no_answer(task: PredictedTask, text: str | None, reason: str | None) -> Answer:
    """The answer for a text that cannot be judged."""
    if isinstance(task, ScoreTask):
        return ScorePrediction(text, reason=reason)
    if isinstance(task, AspectTask):
        return AspectPrediction(text, reason=reason)
    return Prediction(text, None, None, reason=reason)


def columns_of_answers(task: PredictedTask) -> tuple[str, ...]:
    """The columns that answers fill in a table: see the method `row` of each kind of answer."""
    if isinstance(task, ScoreTask):
        chosen = ("predicted_labels",) if task.is_multi_label else ()
        return (*chosen, *score_columns(task.labels, task.is_multi_label), "reason")
    if not isinstance(task, AspectTask):
        return ("predicted_label", "probability", "reason")
    rating = ("predicted_rating", "expected_rating") if task.has_rating else ()
    return (*(f"predicted_{aspect}" for aspect in task.aspects), *rating, "reason")


def answers_of(
    task: PredictedTask,
    texts: Sequence[str | None],
    logits: np.ndarray,
    top_k: int = TOP_K,
    calibration: Calibration | None = None,
) -> list[Answer]:
    """A model's logits, `[texts, width]`, as answers.

    Raises:
        InputError: as many answers as labels are expected.
    """
    if not isinstance(task, AspectTask) and logits.shape[1] != len(task.labels):
        found = f"{logits.shape[1]} answers for {len(task.labels)}"
        raise InputError("a model with one answer for each label of its config", found, "Mend `id2label` there.")
    if isinstance(task, AspectTask):
        return _aspect_answers(task, texts, logits)
    if isinstance(task, ScoreTask):
        return [_scored(task, text, row) for text, row in zip(texts, task.scores(logits), strict=True)]
    calibration = calibration or Calibration()
    probabilities = softmax(logits / calibration.temperature)
    return [
        _answer(task, text, row, top_k, calibration.threshold) for text, row in zip(texts, probabilities, strict=True)
    ]


def _answer(task: Task, text: str | None, probabilities: np.ndarray, top_k: int, threshold: float | None) -> Prediction:
    ranked = np.argsort(-probabilities, kind="stable")[:top_k]
    top = tuple((task.labels[index], float(probabilities[index])) for index in ranked)
    if threshold is not None and top[0][1] < threshold:
        return Prediction(text, None, None, top, reason="below threshold")
    return Prediction(text, top[0][0], top[0][1], top)


def _scored(task: ScoreTask, text: str | None, row: np.ndarray) -> ScorePrediction:
    scores = dict(zip(task.labels, row.tolist(), strict=True))
    if not task.is_multi_label:
        return ScorePrediction(text, scores)
    ranked = sorted(task.labels, key=lambda label: -scores[label])
    return ScorePrediction(text, scores, tuple(label for label in ranked if scores[label] > LABEL_THRESHOLD))


def _aspect_answers(task: AspectTask, texts: Sequence[str | None], logits: np.ndarray) -> list[Answer]:
    cells, rating = task.unpack(logits)
    probabilities = softmax(cells)
    values = probabilities.argmax(axis=-1)
    answers: list[Answer] = []
    stars, expected = (None, None) if rating is None else stars_of(rating)
    for row, text in enumerate(texts):
        mentioned = {}
        for place, aspect in enumerate(task.aspects):
            value = int(values[row, place])
            if value != NOT_MENTIONED:
                mentioned[aspect] = {"label": VALUES[value], "probability": float(probabilities[row, place, value])}
        if stars is None or expected is None:
            answers.append(AspectPrediction(text, mentioned))
        else:
            answers.append(AspectPrediction(text, mentioned, int(stars[row]), float(expected[row])))
    return answers


def with_chunks(task: Task, answers: Sequence[Answer], documents: ScoredDocuments, top_chunks: int) -> list[Answer]:
    """Answers with the passages that speak most for each one's label.

    Args:
        task: names the labels.
        answers: one a document.
        documents: the same documents, with what the model said of each chunk.
        top_chunks: passages of a document at most.
    """
    chosen: list[list[ChunkAnswer]] = [[] for _ in answers]
    counts: list[int] = []
    cleaned: list[str] = []
    read: Counter[int] = Counter()
    for chunks, logits, _ in documents.parts:
        start = len(counts)
        counts += chunks.num_chunks
        cleaned += chunks.texts
        read.update(start + document for document in chunks.documents)
        for row, document in enumerate(chunks.documents):
            answer = answers[start + document]
            if isinstance(answer, Prediction) and answer.label is not None:
                begin, end = chunks.spans[row]
                logit = float(logits[row, task.label2id[answer.label]])
                passage = ChunkAnswer(chunks.texts[document][begin:end], begin, end, chunks.chunk_idx[row], logit)
                chosen[start + document].append(passage)
    ranked = [sorted(passages, key=lambda chunk: -chunk.logit)[:top_chunks] for passages in chosen]
    shown: list[Answer] = []
    for place, (answer, passages, text, count) in enumerate(zip(answers, ranked, cleaned, counts, strict=True)):
        if isinstance(answer, Prediction):
            placed = _placed(passages, answer.text or "", text)
            shown.append(replace(answer, chunks=placed, num_chunks=count, num_chunks_read=read[place]))
        else:
            shown.append(answer)
    return shown


def _placed(passages: Sequence[ChunkAnswer], given: str, cleaned: str) -> tuple[ChunkAnswer, ...]:
    """Passages with their places in the text as given, where these can be told."""
    places = align(given, cleaned) if passages else None
    moved = []
    for chunk in passages:
        inside = [place for place in (places or [])[chunk.start : chunk.end] if place is not None]
        if inside:
            moved.append(replace(chunk, start=min(inside), end=max(inside) + 1))
        else:
            moved.append(replace(chunk, offsets_in=CLEANED))
    return tuple(moved)
