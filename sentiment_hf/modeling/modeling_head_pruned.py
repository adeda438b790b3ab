"""BERT with fewer attention heads than its width asks for. Saved beside the weights, so it stands alone."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from transformers import BertForSequenceClassification

from .configuration_bert_heads import HeadPrunedBertConfig


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
