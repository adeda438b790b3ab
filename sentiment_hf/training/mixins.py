"""What `SentimentTrainer` does in the hooks of `Trainer`, a class each."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer

from sentiment_hf.modeling.aggregation import aggregate
from sentiment_hf.modeling.forward import concat_heads
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.training.optimization import adversarial_embeddings, layerwise_groups


class DocumentPooling(Trainer):
    """Make the logits of a document out of those of its chunks.

    Attributes:
        aggregation: `mean`, `max`, `logsumexp`, or None where a row is a text.
        reads_documents: whether the model itself reads over the chunks, whose logits are those of documents already.
    """

    aggregation: str | None
    reads_documents: bool

    def pool(self, outputs: Any, inputs: dict[str, Any], copies: int = 1) -> torch.Tensor:
        """Return what the model says of each row or document, `[copies * rows, width]`."""
        logits, documents = concat_heads(outputs), inputs.get("chunk_document")
        if documents is None or self.aggregation is None or self.reads_documents:
            return logits
        rows = len(inputs["labels"])
        if copies == 2:
            documents = torch.cat([documents, documents + rows])
        return aggregate(logits, documents, copies * rows, self.aggregation)


class AdversarialEmbeddings(Trainer):
    """Train on adversarial embeddings besides (the fast gradient method), with `fgm_epsilon` above 0."""

    args: SentimentTrainingArguments

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any) -> torch.Tensor:
        """Forward and backward and, with `fgm_epsilon` above 0, both once more on adversarial embeddings."""
        if self.args.fgm_epsilon == 0:
            return super().training_step(model, inputs, *args)
        embeddings = self.accelerator.unwrap_model(model).get_input_embeddings()
        # With gradient accumulation the gradient of the micro-batches before is in there already.
        before = 0.0 if embeddings.weight.grad is None else embeddings.weight.grad.clone()
        loss = super().training_step(model, dict(inputs), *args)
        with adversarial_embeddings(embeddings, self.args.fgm_epsilon, embeddings.weight.grad - before):
            super().training_step(model, dict(inputs), *args)
        return loss


class LayerwiseLearningRates(Trainer):
    """Let lower layers learn more slowly, with `layerwise_lr_decay` below 1."""

    args: SentimentTrainingArguments
    optimizer: torch.optim.Optimizer | None

    def create_optimizer(self, *args: Any) -> torch.optim.Optimizer:
        """As transformers does it, with a learning rate for each layer where `layerwise_lr_decay` is below 1."""
        if self.optimizer is None and self.args.layerwise_lr_decay < 1:
            groups = layerwise_groups(
                self.model,
                self.args.learning_rate,
                self.args.layerwise_lr_decay,
                self.args.weight_decay,
                self.get_decay_parameter_names(self.model),
            )
            optimizer, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = optimizer(groups, **options)
        return super().create_optimizer(*args)
