"""BERT over chunks and a second network over their encodings. Self-contained, since it is saved beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import ModelOutput

from .configuration_bert_heads import HierarchicalBertConfig

# Chunks that the self-attention can tell apart by their place; later ones share the last place.
PLACES = 64


@dataclass
class ChunkOutput(ModelOutput):
    """What the encoder makes of chunks.

    Attributes:
        embedding: `[chunks, hidden]`.
    """

    embedding: torch.Tensor = None  # type: ignore[assignment]


class SelfAttention(nn.Module):
    """One layer of self-attention over a document's chunks, which know their place, with a residual."""

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.places = nn.Embedding(PLACES, hidden_size)
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`[documents, chunks, hidden]` and a mask of true chunks `[documents, chunks]` -> the shape of the first."""
        places = torch.arange(vectors.shape[1], device=vectors.device).clamp(max=PLACES - 1)
        vectors = vectors + self.places(places)
        split = self.query_key_value(vectors).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask[:, None, None], -1e4)
        mixed = (scores.float().softmax(dim=-1).to(value.dtype) @ value).transpose(1, 2).flatten(2)
        return self.norm(vectors + self.output(mixed))


class DocumentHead(nn.Module):
    """The encodings of a document's chunks -> the document's logits."""

    def __init__(self, config: HierarchicalBertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.kind = config.hierarchical
        if self.kind == "bilstm":
            self.lstm = nn.LSTM(size, size // 2, batch_first=True, bidirectional=True)
        elif self.kind == "transformer":
            self.attention = SelfAttention(size, config.num_attention_heads)
        else:
            self.scorer = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1))
        dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(size, config.num_labels)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """`[documents, chunks, hidden]` -> `[documents, classes]`.

        Args:
            vectors: padded on the right.
            mask: `[documents, chunks]`, which of the chunks are there; None for all.
        """
        whole = mask is None
        if mask is None:
            mask = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
        if self.kind == "bilstm":
            vectors = self.lstm(vectors)[0] if whole else self._packed(vectors, mask)
        elif self.kind == "transformer":
            vectors = self.attention(vectors, mask)
        if self.kind == "attention":
            scores = self.scorer(vectors).squeeze(-1).float()
            weights = scores.masked_fill(~mask, -1e4).softmax(dim=1).to(vectors.dtype)
        else:
            weights = mask.to(vectors.dtype) / mask.sum(dim=1, keepdim=True).to(vectors.dtype)
        pooled = (weights.unsqueeze(-1) * vectors).sum(dim=1)
        return self.classifier(self.dropout(pooled))

    def _packed(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # Unpacked, the backward direction would begin with padding.
        lengths = mask.sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        output = self.lstm(packed)[0]
        return nn.utils.rnn.pad_packed_sequence(output, batch_first=True, total_length=vectors.shape[1])[0]


class HierarchicalBertForSequenceClassification(BertPreTrainedModel):
    """A classifier of documents that come as chunks, after Pappagari et al. 2019, "Hierarchical Transformers"."""

    config_class = HierarchicalBertConfig

    def __init__(self, config: HierarchicalBertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.document = DocumentHead(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.LSTM):
            # BERT's own rule passes it over, and a checkpoint without it would leave whatever was in memory.
            module.reset_parameters()

    def embed_chunks(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> ChunkOutput:
        """Chunks `[chunks, tokens]` -> one vector each, `[chunks, hidden]`."""
        hidden = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        if self.config.pooling == "cls":
            return ChunkOutput(embedding=hidden[:, 0])
        if attention_mask is None:
            return ChunkOutput(embedding=hidden.mean(dim=1))
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return ChunkOutput(embedding=(hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1))

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        chunk_document: torch.Tensor | None = None,
        chunk_idx: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits of documents.

        Args:
            input_ids: `[chunks, tokens]`.
            attention_mask: `[chunks, tokens]`.
            token_type_ids: `[chunks, tokens]`.
            chunk_document: `[chunks]`, which document each chunk is of, from 0, every document having one; None where
                each is a document of its own.
            chunk_idx: `[chunks]`, its place in the document; None where chunks come in order.
            labels: `[documents]`; with them the cross-entropy is returned as well.

        Returns:
            Logits `[documents, classes]`.
        """
        vectors = self.embed_chunks(input_ids, attention_mask, token_type_ids).embedding
        padded, mask = pad_chunks(vectors, chunk_document, chunk_idx)
        logits = self.document(padded, mask)
        loss = None if labels is None else nn.functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def pad_chunks(
    vectors: torch.Tensor, documents: torch.Tensor | None, chunk_idx: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Chunks in any order, `[chunks, hidden]` -> `[documents, most chunks, hidden]` in order, and which are there."""
    if documents is None:
        documents = torch.arange(len(vectors), device=vectors.device)
    if chunk_idx is None:
        chunk_idx = torch.arange(len(vectors), device=vectors.device)
    order = torch.argsort(documents * (int(chunk_idx.max()) + 1) + chunk_idx)
    documents, vectors = documents[order], vectors[order]
    counts = documents.bincount()
    starts = counts.cumsum(0) - counts
    places = torch.arange(len(documents), device=vectors.device) - starts[documents]
    padded = vectors.new_zeros(len(counts), int(counts.max()), vectors.shape[-1])
    padded = padded.index_put((documents, places), vectors)
    mask = torch.arange(padded.shape[1], device=vectors.device) < counts.unsqueeze(-1)
    return padded, mask
