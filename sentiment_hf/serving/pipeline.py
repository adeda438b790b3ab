"""`pipeline("long-text-classification", model=…)`, registered with transformers when this module is imported."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from sentiment_hf.evaluation.calibration import Calibration
from sentiment_hf.evaluation.prediction import TextScorer
from sentiment_hf.modeling.forward import torch_document_head, torch_forward
from sentiment_hf.modeling.saved import recorded_calibration, recorded_settings, task_of
from sentiment_hf.serving.predictor import SentimentClassifier

TASK = "long-text-classification"


class LongTextClassificationPipeline(Pipeline):
    """Classifies texts of any length as `SentimentClassifier` does: windows, batches of chunks, passages.

    >>> import sentiment_hf.serving.pipeline
    >>> from transformers import pipeline
    >>> classify = pipeline("long-text-classification", model="runs/topics")
    >>> classify("…", top_chunks=3)["label"]
    '体育'

    Calling it with a text gives a dict (`label`, `probability`, `top`, `num_chunks`, `chunks`), with a list of texts a
    list of them. `batch_size` is the number of chunks that go through the model at once.
    """

    def _sanitize_parameters(
        self, top_k: int = 3, top_chunks: int = 3, **_: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, {"top_k": top_k, "top_chunks": top_chunks}, {}

    def preprocess(self, input_: str, **_: Any) -> dict[str, Any]:
        return {"text": input_}

    def _forward(self, input_tensors: dict[str, Any], top_k: int = 3, top_chunks: int = 3, **_: Any) -> Any:
        chunks = top_chunks if self._classifier.scorer.settings.is_sliding else 0
        return self._classifier(input_tensors["text"], top_k=top_k, top_chunks=chunks)

    def postprocess(self, model_outputs: Any, **_: Any) -> dict[str, Any]:
        answer: dict[str, Any] = model_outputs.to_dict()
        return answer

    def forward(self, model_inputs: dict[str, Any], **forward_params: Any) -> Any:
        # The chunks of one text are batched inside; there are no tensors to move before that.
        with self.device_placement(), torch.inference_mode():
            return self._forward(model_inputs, **forward_params)

    @property
    def _classifier(self) -> SentimentClassifier:
        if not hasattr(self, "_made"):
            config, tokenizer = self.model.config, self.tokenizer
            settings = recorded_settings(config, tokenizer, self.model.name_or_path or "the model")
            forward, head = torch_forward(self.model), torch_document_head(self.model)
            scorer = TextScorer(tokenizer, settings, forward, batch_size=self._batch_size or 32, document_head=head)
            calibration = Calibration(*recorded_calibration(config))
            where = (str(self.device),)
            self._made = SentimentClassifier(task_of(config), scorer, "torch", where, calibration=calibration)
        return self._made


PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=LongTextClassificationPipeline, pt_model=AutoModelForSequenceClassification
)
