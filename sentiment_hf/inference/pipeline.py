"""`pipeline("long-text-classification", model=…)`, registered with transformers when this module is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from sentiment_hf.inference.calibration import Calibration
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.inference.scorer import DOCUMENTS_AT_ONCE, TextScorer
from sentiment_hf.modeling import classifier as _own_classes  # noqa: F401 registers them with the Auto classes
from sentiment_hf.modeling.config_io import predicted_task, recorded_calibration, recorded_settings
from sentiment_hf.modeling.forward import torch_document_head, torch_forward
from sentiment_hf.tasks import TOP_K

TASK = "long-text-classification"
DEFAULT_BATCH_SIZE = 32
_DEFAULTS = {"top_k": TOP_K, "top_chunks": 3}


class LongTextClassificationPipeline(Pipeline):
    """Classifies texts of any length as `SentimentClassifier` does: sliding windows, batches of chunks, top chunks.

    >>> import sentiment_hf.inference.pipeline
    >>> from transformers import pipeline
    >>> classify = pipeline("long-text-classification", model="runs/topics")
    >>> classify("…", top_chunks=3)["label"]
    '体育'

    Calling it with a text gives a dict (`label`, `probability`, `top`, `num_chunks`, `chunks`), with a list of texts a
    list of them, with anything else that texts come out of (a generator, a dataset's column) an iterator over them.
    `top_k`, `top_chunks` and `batch_size`, the number of chunks that go through the model at once whichever text they
    are of, may be given here or when it is made.
    """

    def __call__(self, inputs: Any, *args: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        kwargs.pop("num_workers", None)
        _, given, _ = self._sanitize_parameters(**kwargs)
        settings = _DEFAULTS | self._forward_params | given
        size = batch_size or self._batch_size or DEFAULT_BATCH_SIZE
        if isinstance(inputs, str):
            return self._predict([inputs], settings, size)[0]
        if isinstance(inputs, list | tuple):
            return self._predict(list(inputs), settings, size)
        return (prediction for block in _blocks(inputs) for prediction in self._predict(block, settings, size))

    def _predict(self, texts: list[str], settings: dict[str, int], batch_size: int) -> list[dict[str, Any]]:
        classifier = copy(self._classifier)
        classifier.scorer = replace(classifier.scorer, batch_size=batch_size)
        shows_chunks = classifier.scorer.settings.is_sliding and classifier.task.is_single_label
        asked = settings if shows_chunks else settings | {"top_chunks": 0}
        with self.device_placement(), torch.inference_mode():
            return [prediction.to_dict() for prediction in classifier(texts, **asked)]

    def _sanitize_parameters(
        self, top_k: int | None = None, top_chunks: int | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        given = {"top_k": top_k, "top_chunks": top_chunks}
        return {}, {name: value for name, value in given.items() if value is not None}, {}

    # The base class asks for these steps of one row; here rows of several texts are read together.
    def preprocess(self, input_: str, **_: Any) -> dict[str, Any]:
        return {"text": input_}

    def _forward(self, input_tensors: dict[str, Any], **settings: Any) -> Any:
        return self._predict([input_tensors["text"]], _DEFAULTS | settings, DEFAULT_BATCH_SIZE)[0]

    def postprocess(self, model_outputs: Any, **_: Any) -> Any:
        return model_outputs

    @property
    def _classifier(self) -> SentimentClassifier:
        if not hasattr(self, "_made"):
            config, tokenizer = self.model.config, self.tokenizer
            settings = recorded_settings(config, tokenizer, self.model.name_or_path or "the model")
            forward, head = torch_forward(self.model), torch_document_head(self.model)
            scorer = TextScorer(tokenizer, settings, forward, document_head=head)
            calibration = Calibration(*recorded_calibration(config))
            where = (str(self.device),)
            self._made = SentimentClassifier(predicted_task(config), scorer, "torch", where, calibration=calibration)
        return self._made


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in blocks that are read together, without waiting for the last of them."""
    waiting = iter(texts)
    while block := list(islice(waiting, DOCUMENTS_AT_ONCE)):
        yield block


PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=LongTextClassificationPipeline, pt_model=AutoModelForSequenceClassification
)
