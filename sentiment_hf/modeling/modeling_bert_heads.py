"""BERT with heads that the stock classifier lacks, or with fewer attention heads.

Self-contained, since it is saved beside the weights.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import BertForSequenceClassification, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_bert_heads import AspectBertConfig, HeadPrunedBertConfig, PooledBertConfig

STARS = 5


class _Encoder(BertPreTrainedModel):
    """BERT, its pooling and the dropout before a head.

    Args:
        config: with `pooling`.
        queries: with attention pooling, how many vectors a text is pooled into.
    """

    def __init__(self, config: Any, queries: int) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=config.pooling == "pooler")
        dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(dropout)
        if config.pooling == "attention":
            self.queries = nn.Linear(config.hidden_size, queries, bias=False)

    def pooled(
        self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None, kwargs: dict[str, Any]
    ) -> tuple[torch.Tensor, Any]:
        """Token ids `[batch, tokens]` -> a vector a text, `[batch, hidden]`, and all that BERT returned.

        With attention pooling there is one for each query, `[batch, queries, hidden]`.
        """
        # Callers that ask for tuples would not find the rating in one.
        kwargs.pop("return_dict", None)
        outputs = self.bert(input_ids, attention_mask=attention_mask, **kwargs)
        return self.dropout(self._pool(outputs, attention_mask)), outputs

    def _pool(self, outputs: Any, attention_mask: torch.Tensor | None) -> torch.Tensor:
        if self.config.pooling == "pooler":
            return outputs.pooler_output
        hidden = outputs.last_hidden_state
        if self.config.pooling == "cls":
            return hidden[:, 0]
        if attention_mask is None:
            attention_mask = torch.ones(hidden.shape[:2], device=hidden.device)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        if self.config.pooling == "attention":
            scores = self.queries(hidden).float().masked_fill(mask == 0, -1e4)
            return scores.softmax(dim=1).to(hidden.dtype).transpose(1, 2) @ hidden
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


class PooledBertForSequenceClassification(_Encoder):
    """A classifier as `BertForSequenceClassification`, with the pooling that its config names."""

    config_class = PooledBertConfig

    def __init__(self, config: PooledBertConfig) -> None:
        super().__init__(config, queries=1)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Logits `[batch, classes]` and, with labels `[batch]`, their cross-entropy; other arguments are BERT's."""
        pooled, outputs = self.pooled(input_ids, attention_mask, {"token_type_ids": token_type_ids, **kwargs})
        logits = self.classifier(pooled.flatten(1))
        loss = None if labels is None else nn.functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


@dataclass
class AspectOutput(SequenceClassifierOutput):
    """The outputs of an aspect model.

    Attributes:
        logits: `[batch, aspects, values]`.
        rating: `[batch, 4]`, logits of more than 1, 2, 3 and 4 stars (ordinal), `[batch, 1]`, the stars (regression),
            or None.
    """

    rating: torch.Tensor | None = None


class AspectBertForSequenceClassification(_Encoder):
    """One encoder, a head for the aspects and one for the star rating.

    The ordinal rating is CORAL's (Cao et al. 2020, "Rank Consistent Ordinal Regression"): one score a text and one
    threshold a step, so that more than 4 stars is never more likely than more than 3.
    """

    config_class = AspectBertConfig

    def __init__(self, config: AspectBertConfig) -> None:
        super().__init__(config, queries=len(config.aspects) + 1)
        self.classifier = nn.Linear(config.hidden_size, len(config.aspects) * config.num_labels)
        if config.rating == "ordinal":
            self.rating = nn.Linear(config.hidden_size, 1, bias=False)
            self.thresholds = nn.Parameter(torch.zeros(STARS - 1))
        elif config.rating == "regression":
            self.rating = nn.Linear(config.hidden_size, 1)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self and self.config.rating == "ordinal":
            # Evenly apart and rising: more stars are harder to get.
            self.thresholds.copy_(torch.linspace(-1.5, 1.5, STARS - 1))

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> AspectOutput:
        """Logits of aspects and rating; arguments not named are BERT's. The loss is the business of whoever trains."""
        if labels is not None:
            raise ValueError("the loss of aspects is sentiment_hf's SentimentTrainer's; call the model without labels")
        pooled, outputs = self.pooled(input_ids, attention_mask, {"token_type_ids": token_type_ids, **kwargs})
        if self.config.pooling == "attention":
            # Each aspect's values are read off the vector that is pooled for it, the rating off the last one.
            weight = self.classifier.weight.unflatten(0, (len(self.config.aspects), -1))
            bias = self.classifier.bias.unflatten(0, (len(self.config.aspects), -1))
            logits = (pooled[:, :-1].unsqueeze(2) * weight).sum(dim=-1) + bias
            pooled = pooled[:, -1]
        else:
            logits = self.classifier(pooled).unflatten(-1, (len(self.config.aspects), -1))
        rating = None
        if self.config.rating == "ordinal":
            # Minus and not plus: onnxruntime would take a sum for the product's bias, which has one element.
            rating = self.rating(pooled) - self.thresholds
        elif self.config.rating == "regression":
            # Around the middle of the scale, where an untrained head starts.
            rating = self.rating(pooled) + (STARS + 1) / 2
        return AspectOutput(
            logits=logits, rating=rating, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class HeadPrunedBertForSequenceClassification(BertForSequenceClassification):
    """`BertForSequenceClassification` whose layers keep some of their heads, each as wide as before."""

    config_class = HeadPrunedBertConfig

    def __init__(self, config: HeadPrunedBertConfig) -> None:
        # BERT ties the size of a head to their number; one head passes its check whatever the width.
        stock = copy.deepcopy(config)
        stock.num_attention_heads = 1
        super().__init__(stock)
        self.config.num_attention_heads = config.num_attention_heads
        for layer in self.bert.encoder.layer:
            narrow_attention(layer, config.num_attention_heads, config.attention_head_size)
        self.post_init()


def narrow_attention(layer: Any, heads: int, head_size: int) -> None:
    """Give a layer of BERT so many heads of this size, in place, with new projections."""
    attention, output = layer.attention.self, layer.attention.output
    width, hidden = heads * head_size, attention.query.in_features
    attention.num_attention_heads = heads
    attention.attention_head_size = head_size
    attention.all_head_size = width
    if hasattr(attention, "scaling"):
        attention.scaling = head_size**-0.5
    attention.query, attention.key, attention.value = (nn.Linear(hidden, width) for _ in range(3))
    output.dense = nn.Linear(width, hidden)
