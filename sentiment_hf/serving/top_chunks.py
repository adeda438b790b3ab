"""The top of a long text that speak most for its label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sentiment_hf.data.offsets import align
from sentiment_hf.evaluation.prediction import ScoredDocuments
from sentiment_hf.tasks import AnyPrediction, ChunkAnswer, Prediction, Task

CLEANED = "cleaned"


def with_chunks(
    task: Task, answers: Sequence[AnyPrediction], documents: ScoredDocuments, top_chunks: int
) -> list[AnyPrediction]:
    """Answers with the top that speak most for each one's label.

    Args:
        task: names the labels.
        answers: one a document.
        documents: the same documents, with what the model said of each chunk.
        top_chunks: chunks of a document at most.
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
                found = ChunkAnswer(chunks.texts[document][begin:end], begin, end, chunks.chunk_idx[row], logit)
                chosen[start + document].append(found)
    ranked = [sorted(top, key=lambda chunk: -chunk.logit)[:top_chunks] for top in chosen]
    shown: list[AnyPrediction] = []
    for place, (answer, top, text, count) in enumerate(zip(answers, ranked, cleaned, counts, strict=True)):
        if isinstance(answer, Prediction):
            placed = _placed(top, answer.text or "", text)
            shown.append(replace(answer, chunks=placed, num_chunks=count, num_chunks_read=read[place]))
        else:
            shown.append(answer)
    return shown


def _placed(top: Sequence[ChunkAnswer], given: str, cleaned: str) -> tuple[ChunkAnswer, ...]:
    """Chunks with their places in the text as given, where these can be told."""
    places = align(given, cleaned) if top else None
    moved = []
    for chunk in top:
        inside = [place for place in (places or [])[chunk.start : chunk.end] if place is not None]
        if inside:
            moved.append(replace(chunk, start=min(inside), end=max(inside) + 1))
        else:
            moved.append(replace(chunk, offsets_in=CLEANED))
    return tuple(moved)
