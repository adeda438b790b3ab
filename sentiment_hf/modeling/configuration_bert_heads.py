"""BERT configs for heads that the stock classifier lacks. Self-contained, since it is saved beside the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import BertConfig


class PooledBertConfig(BertConfig):
    """A `BertConfig` for a classifier with another pooling.

    Args:
        pooling: `cls` (the first token's hidden state), `mean` (over all tokens but padding), `attention` (a learned
            weighted mean) or `pooler` (BERT's own).
        kwargs: as for `BertConfig`.
    """

    model_type = "sentiment_hf_pooled_bert"

    def __init__(self, pooling: str = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling


class AspectBertConfig(BertConfig):
    """A `BertConfig` for aspects and a star rating.

    Args:
        aspects: their names, in the order of the logits.
        rating: `none`, `ordinal` or `regression`.
        pooling: as for `PooledBertConfig`; with `attention` each aspect and the rating weigh the tokens for themselves.
        kwargs: as for `BertConfig`; `id2label` names the values of an aspect.
    """

    model_type = "sentiment_hf_aspect_bert"

    def __init__(
        self, aspects: Sequence[str] = (), rating: str = "none", pooling: str = "pooler", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.aspects = list(aspects)
        self.rating = rating
        self.pooling = pooling


class HierarchicalBertConfig(BertConfig):
    """A `BertConfig` for documents read in chunks, over whose encodings another network reads.

    Args:
        hierarchical: `bilstm`, `transformer` (one layer of self-attention) or `attention` (a learned weighted mean).
        pooling: how a chunk becomes one vector, `cls` or `mean`.
        kwargs: as for `BertConfig`.
    """

    model_type = "sentiment_hf_hierarchical_bert"

    def __init__(self, hierarchical: str = "attention", pooling: str = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hierarchical = hierarchical
        self.pooling = pooling


class HeadPrunedBertConfig(BertConfig):
    """A `BertConfig` for a classifier with fewer attention heads than its width asks for.

    Args:
        attention_head_size: of each of the `num_attention_heads`; in a stock BERT it is their share of `hidden_size`.
        kwargs: as for `BertConfig`.
    """

    model_type = "sentiment_hf_head_pruned_bert"

    def __init__(self, attention_head_size: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention_head_size = attention_head_size
