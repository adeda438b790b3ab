"""The chunks of a long text that speak most for its label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sentiment_hf.data.offsets import align
from sentiment_hf.evaluation.prediction import ScoredDocuments
from sentiment_hf.tasks import AnyPrediction, ChunkScore, Prediction, Task

CLEANED = "cleaned"


def with_chunks(
    task: Task, predictions: Sequence[AnyPrediction], documents: ScoredDocuments, top_chunks: int
) -> list[AnyPrediction]:
    """Give predictions the chunks that speak most for each one's label.

    Args:
        task: names the labels.
        predictions: one a document.
        documents: the same documents, with what the model said of each chunk.
        top_chunks: chunks of a document at most.
    """
    chosen: list[list[ChunkScore]] = [[] for _ in predictions]
    counts: list[int] = []
    cleaned: list[str] = []
    read: Counter[int] = Counter()
    for chunks, logits, _ in documents.parts:
        start = len(counts)
        counts += chunks.num_chunks
        cleaned += chunks.texts
        read.update(start + document for document in chunks.documents)
        for row, document in enumerate(chunks.documents):
            prediction = predictions[start + document]
            if isinstance(prediction, Prediction) and prediction.label is not None:
                begin, end = chunks.spans[row]
                logit = float(logits[row, task.label2id[prediction.label]])
                found = ChunkScore(chunks.texts[document][begin:end], begin, end, chunks.chunk_idx[row], logit)
                chosen[start + document].append(found)
    ranked = [sorted(top, key=lambda chunk: -chunk.logit)[:top_chunks] for top in chosen]
    shown: list[AnyPrediction] = []
    for place, (prediction, top, text, count) in enumerate(zip(predictions, ranked, cleaned, counts, strict=True)):
        if isinstance(prediction, Prediction):
            placed = _placed(top, prediction.text or "", text)
            shown.append(replace(prediction, chunks=placed, num_chunks=count, num_chunks_read=read[place]))
        else:
            shown.append(prediction)
    return shown


def _placed(top: Sequence[ChunkScore], given: str, cleaned: str) -> tuple[ChunkScore, ...]:
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
