"""`SentimentClassifier`: texts in, labels with probabilities out, on torch or ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from sentiment_hf.data.chunks import align
from sentiment_hf.data.cleaning import clean
from sentiment_hf.data.columns import as_text
from sentiment_hf.inference.backends import open_backend
from sentiment_hf.inference.calibration import Calibration
from sentiment_hf.inference.scorer import ScoredDocuments, TextScorer
from sentiment_hf.modeling.config_io import CONFIG_KEY, predicted_task, recorded_calibration, recorded_settings
from sentiment_hf.modeling.loading import load_config_and_tokenizer
from sentiment_hf.modeling.names import STARTER_REVIEWS, resolve_model
from sentiment_hf.tasks import TOP_K, AnyPrediction, ChunkScore, Prediction, Task
from sentiment_hf.utils.exceptions import InputError


class SentimentClassifier:
    """A trained classifier.

    >>> classifier = SentimentClassifier.from_pretrained("runs/quickstart", backend="int8")
    >>> classifier("这个电影太好看了！").label
    'positive'

    Attributes:
        task: label names and metric.
        scorer: texts -> logits.
        backend: `torch`, `onnx`, `int8`, `static`, `openvino` or `openvino_int8`.
        providers: what the model really runs on.
        file: the file that holds the weights in use.
        calibration: temperature of the probabilities, and the threshold below which no label is given.
    """

    def __init__(
        self,
        task: Task,
        scorer: TextScorer,
        backend: str,
        providers: tuple[str, ...],
        file: Path | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.task, self.scorer, self.backend, self.providers, self.file = task, scorer, backend, providers, file
        self.calibration = calibration or Calibration()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = STARTER_REVIEWS,
        backend: str = "auto",
        provider: str = "cpu",
        revision: str | None = None,
    ) -> SentimentClassifier:
        """Load a classifier.

        Args:
            model: folder or Hub id of a sequence classifier; one from this package brings its text settings along.
                Unless told, the classifier of reviews that comes with the package.
            backend: which file: `torch` (the checkpoint), `onnx` (`onnx/model.onnx`), `int8` (the quantized file for
                this processor, else the one that runs on any), `static` (the one with activation ranges), `openvino`
                and `openvino_int8` (`onnx/model.onnx` and the static file, run by OpenVINO), or `auto`: the first of
                torch, int8 and onnx that the model has. Usual names of others are known as well; see `onnx_paths`.
            provider: where it runs: `cpu`, `cuda` or `tensorrt` (ONNX files only). Where an ONNX file does not run on
                the one asked for, the next of tensorrt, cuda and cpu takes it, with a warning.
            revision: branch, tag or commit of a Hub id.

        Raises:
            InputError: no such model, tokenizer or file, or torch asked to run where it cannot.
            MissingExtraError: onnxruntime or OpenVINO is needed and not installed.
        """
        name = resolve_model(str(model))
        config, tokenizer = load_config_and_tokenizer(name, revision)
        settings = recorded_settings(config, tokenizer, name)
        opened = open_backend(name, config, backend, provider, revision, max_length=settings.max_length)
        scorer = TextScorer(
            tokenizer,
            settings,
            opened.forward,
            batch_size=opened.batch_size,
            document_head=opened.document_head,
            workers=opened.workers,
        )
        if opened.name in ("torch", "onnx") and not hasattr(config, CONFIG_KEY):
            scorer = scorer.heeding_padding(name)
        calibration = Calibration(*recorded_calibration(config))
        return cls(predicted_task(config), scorer, opened.name, opened.providers, opened.file, calibration)

    @overload
    def __call__(self, texts: str, top_k: int = TOP_K, top_chunks: int = 0) -> AnyPrediction: ...

    @overload
    def __call__(self, texts: Iterable[Any], top_k: int = TOP_K, top_chunks: int = 0) -> list[AnyPrediction]: ...

    def __call__(
        self, texts: str | Iterable[Any], top_k: int = TOP_K, top_chunks: int = 0
    ) -> AnyPrediction | list[AnyPrediction]:
        """Classify a text, or many.

        Args:
            texts: a text, or texts in any order and number; inside they are sorted by length and batched. A missing or
                empty one among them gets a prediction without label, and does not stop the others.
            top_k: how many labels `top` lists.
            top_chunks: of a model with sliding windows, how many chunks of a text to show that speak for its label.

        Returns:
            A `Prediction` (of a model with aspects an `AspectPrediction`, of one that scores each label for itself a
            `ScorePrediction`), or a list of them in the order of the texts.
        """
        if isinstance(texts, str):
            return self._predict([texts], top_k, top_chunks)[0]
        return self._predict(list(texts), top_k, top_chunks)

    def _predict(self, values: list[Any], top_k: int, top_chunks: int) -> list[AnyPrediction]:
        if top_k < 1:
            raise InputError("top_k of at least 1", str(top_k), "Leave it out for 3.")
        if top_chunks < 0:
            raise InputError("top_chunks of at least 0", str(top_chunks), "0 shows none.")
        if top_chunks and not (self.scorer.settings.is_sliding and self.task.is_single_label):
            remedy = "Train with `truncation: sliding`, or leave top_chunks out."
            raise InputError("a model of one label with sliding windows, for top_chunks", "another", remedy)
        texts = [as_text(value) for value in values]
        reasons = [self._reason_against(text) for text in texts]
        judged = [row for row, reason in enumerate(reasons) if reason is None]
        predictions = [self.task.no_prediction(text, reason) for text, reason in zip(texts, reasons, strict=True)]
        if judged:
            given = [texts[row] or "" for row in judged]
            documents = self.scorer.documents(given) if top_chunks else None
            logits = self.scorer.logits(given) if documents is None else documents.logits
            calibration = self.calibration
            scored = self.task.predictions(given, logits, top_k, calibration.temperature, calibration.threshold)
            if documents is not None:
                scored = with_chunks(self.task, scored, documents, top_chunks)
            for row, prediction in zip(judged, scored, strict=True):
                predictions[row] = prediction
        return predictions

    def _reason_against(self, text: str | None) -> str | None:
        if text is None:
            return "missing text"
        if not text.strip():
            return "empty text"
        return None if clean(text, self.scorer.settings.cleaning).strip() else "no text left after cleaning"


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
