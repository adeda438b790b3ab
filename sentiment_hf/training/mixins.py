"""Mixins of `SentimentTrainer` that override hooks of `Trainer`, and the functions passed to it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, Trainer
from transformers.modeling_outputs import SequenceClassifierOutput

from sentiment_hf.inference.scorer import aggregate
from sentiment_hf.modeling.forward import concat_heads
from sentiment_hf.modeling.modeling_hierarchical import ChunkOutput, HierarchicalBertForSequenceClassification
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.utils.exceptions import InputError


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


_LAYER = re.compile(r"\.layer\.(\d+)\.")


def layerwise_groups(
    model: PreTrainedModel, learning_rate: float, decay: float, weight_decay: float, decayed: Collection[str]
) -> list[dict[str, Any]]:
    """Parameter groups whose learning rate falls from the head to the embeddings.

    The head and the pooler learn at `learning_rate`, the layer below at `decay` times that, and so on down to the
    embeddings, which are one step below the first layer (Howard and Ruder 2018, "ULMFiT"; Clark et al. 2020,
    "ELECTRA").

    Args:
        model: a classifier whose encoder numbers its layers as BERT does (`….layer.3.…`).
        learning_rate: of the head.
        decay: factor from a layer to the one below it, above 0 and at most 1.
        weight_decay: of the parameters named in `decayed`; the others have none.
        decayed: names of parameters with weight decay.

    Returns:
        One group a depth and kind, from the embeddings up, each with `name`, `lr`, `weight_decay` and `params`.

    Raises:
        InputError: no layer is numbered like that.
    """
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    num_layers = 1 + max((int(match[1]) for name, _ in trainable if (match := _LAYER.search(name))), default=-1)
    if num_layers == 0:
        found = f"{model.config.model_type}, which names them otherwise"
        raise InputError("layers named as BERT's, for layerwise_lr_decay", found, "Leave it at 1.")
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in trainable:
        match = _LAYER.search(name)
        # 0: embeddings, 1 to num_layers: layers, num_layers + 1: pooler and head.
        depth = int(match[1]) + 1 if match else 0 if ".embeddings." in name else num_layers + 1
        kind = name in decayed
        title = "embeddings" if depth == 0 else f"layer {depth - 1}" if depth <= num_layers else "head"
        group = groups.setdefault(
            (depth, kind),
            {
                "name": title if kind else f"{title}, no weight decay",
                "lr": learning_rate * decay ** (num_layers + 1 - depth),
                "weight_decay": weight_decay if kind else 0.0,
                "params": [],
            },
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


@contextmanager
def adversarial_embeddings(embeddings: torch.nn.Embedding, epsilon: float, gradient: torch.Tensor) -> Iterator[None]:
    """Within it the embeddings stand `epsilon` away in the direction that raises the loss most; then where they were.

    The fast gradient method of Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text
    Classification", with one step for the whole matrix, as is usual for BERT.

    Args:
        embeddings: of the words.
        epsilon: length of the step (L2).
        gradient: of the loss, `[vocabulary, hidden]`; one that is nought or not finite moves nothing.
    """
    norm = gradient.norm()
    moves = bool(norm > 0) and bool(torch.isfinite(norm))
    before = embeddings.weight.detach().clone()
    try:
        if moves:
            with torch.no_grad():
                embeddings.weight.add_(gradient, alpha=float(epsilon / norm))
        yield
    finally:
        with torch.no_grad():
            embeddings.weight.copy_(before)


def chunk_forward(model: PreTrainedModel, max_rows: int) -> None:
    """Let a model's forward take a batch of any size, in groups of at most `max_rows` rows.

    In training a group keeps its inputs alone and is computed again when its gradient is due, with the same dropout,
    so that the gradient is that of the whole batch (gradient checkpointing, Chen et al. 2016, over rows in place of
    layers). Memory is that of one group and of the logits. A batch that fits is left as it is.

    The model's own `forward` is replaced, as accelerate does for mixed precision, so that whatever wraps the model for
    several processes still sees one forward and one backward a batch. Calling the wrapped model once a group instead
    does not hold: `DistributedDataParallel` broadcasts buffers at every call, so that processes with unequal numbers
    of groups wait for each other forever, and FSDP refuses `no_sync` while a group is computed again. Under FSDP the
    numbers of groups have to be equal either way, since each group gathers the weights.

    Args:
        model: changed in place; its forward then returns an object with `logits` alone where it had to split.
        max_rows: at least 1.
    """
    # A hierarchical model reads over all chunks of a document at once; what is bounded is the encoder below.
    name = "embed_chunks" if isinstance(model, HierarchicalBertForSequenceClassification) else "forward"
    whole = getattr(model, name)

    def forward_rows(args: tuple[Any, ...], features: dict[str, Any]) -> torch.Tensor:
        outputs = whole(*args, **features)
        return concat_heads(outputs) if name == "forward" else outputs.embedding

    def forward(*args: torch.Tensor | None, **features: torch.Tensor | None) -> Any:
        given = next(value for value in (*args, *features.values()) if value is not None)
        if len(given) <= max_rows:
            return whole(*args, **features)
        parts = []
        for start in range(0, len(given), max_rows):
            rows = slice(start, start + max_rows)
            places = tuple(value if value is None else value[rows] for value in args)
            names = {key: value[rows] for key, value in features.items() if value is not None}
            if torch.is_grad_enabled():
                parts.append(checkpoint(forward_rows, places, names, use_reentrant=False))
            else:
                parts.append(forward_rows(places, names))
        if name == "embed_chunks":
            return ChunkOutput(embedding=torch.cat(parts))
        return SequenceClassifierOutput(logits=torch.cat(parts))

    setattr(model, name, forward)
