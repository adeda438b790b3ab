"""Compute logits of texts: batch by length, and aggregate the chunks of a document.

`mean` asks what the article says as a whole, `max` lets the chunk decide that speaks up most for a class, and
`logsumexp` lies between them: every chunk counts, the loudest most.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sentiment_hf.data.chunks import Chunks, encode_chunks
from sentiment_hf.data.padding import pad_rows
from sentiment_hf.data.tokenization import TextSettings, encode

if TYPE_CHECKING:
    # Whoever runs ONNX files alone needs no torch.
    import torch
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

# Of documents that are read in chunks: so many, or as many as have so many characters, one at least.
DOCUMENTS_AT_ONCE, CHARACTERS_AT_ONCE = 256, 500_000
# Rows are sorted by length among so many: enough for full batches of one length, few enough that the tokenizer works on
# the next ones while the model reads these.
TEXTS_AT_ONCE = 512

# Of a hierarchical model: `[chunks, hidden]` of one document -> logits `[classes]`.
DocumentHead = Callable[[np.ndarray], np.ndarray]
# `{input_ids, attention_mask, …}`, each `[batch, tokens]` -> logits `[batch, classes]`.
Forward = Callable[[dict[str, np.ndarray]], np.ndarray]

# Backend -> rows of a batch on a processor: in small batches of sorted texts next to nothing is padding, and torch has
# more overhead a call.
BATCH_SIZES = {"torch": 16, "onnx": 8, "int8": 8, "static": 8, "openvino": 8, "openvino_int8": 8}


@dataclass
class TextScorer:
    """Everything between texts and logits but the forward itself.

    Attributes:
        tokenizer: the model's.
        settings: cleaning and truncation as in training.
        forward: one padded batch through the model.
        batch_size: rows of a batch at most.
        pad_to_multiple_of: batches are padded to the longest row, rounded up to this.
        document_head: of a hierarchical model, whose forward encodes chunks: what reads over those of a document,
            `[chunks, hidden]` -> `[classes]`. None where the chunks' logits are aggregated as the settings say.
        workers: how many batches are read at the same time, each by a thread of its own; for a forward that lets the
            interpreter go and uses one processor thread a call.
        bar_from_batches: a progress bar is shown from so many batches on; by default never.
    """

    tokenizer: PreTrainedTokenizerBase
    settings: TextSettings
    forward: Forward
    batch_size: int = 32
    pad_to_multiple_of: int = 8
    document_head: DocumentHead | None = None
    workers: int = 1
    bar_from_batches: float = math.inf

    def with_forward(self, forward: Forward, document_head: DocumentHead | None = None, workers: int = 1) -> TextScorer:
        """Return the same scorer around another forward, for comparing backends."""
        return replace(self, forward=forward, document_head=document_head, workers=workers)

    def heeding_padding(self, name: str) -> TextScorer:
        """Return the scorer; where padding changes the logits of a model from elsewhere, as with convolutions
        (ConvBERT) or without a mask (FNet), one that reads texts one by one and unpadded."""
        encoded = self.tokenizer(["这家店的服务很好"], return_attention_mask=True)
        rows = {field: encoded[field] for field in encoded}
        size = len(rows["input_ids"][0])
        bare, padded = (
            self.forward(pad_rows(rows, self.tokenizer, width, self.settings.max_length)) for width in (size, size + 5)
        )
        if np.allclose(bare, padded, rtol=1e-3, atol=1e-3):
            return self
        logger.warning("padding changes the predictions of %s: texts are processed one by one, which is slower", name)
        return replace(self, batch_size=1, pad_to_multiple_of=1)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Logits of the texts, `[texts, width]`, in their order; with sliding windows those of whole documents."""
        if self.settings.is_sliding:
            return self.documents(texts, judge_chunks=False).logits
        return np.concatenate([self._forward_all(encoded) for encoded in self._encoded_ahead(list(texts))])

    def _encoded_ahead(self, texts: list[str]) -> Iterator[dict[str, list[list[int]]]]:
        """Yield the texts in blocks, each encoded while the one before it is read."""
        blocks = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        if len(blocks) == 1:
            yield encode(self.tokenizer, texts, self.settings)
            return
        with ThreadPoolExecutor(1) as tokenizing:
            ahead = tokenizing.submit(encode, self.tokenizer, blocks[0], self.settings)
            for block in [*blocks[1:], []]:
                encoded = ahead.result()
                if block:
                    ahead = tokenizing.submit(encode, self.tokenizer, block, self.settings)
                yield encoded

    def documents(self, texts: Sequence[str], judge_chunks: bool = True) -> ScoredDocuments:
        """Logits of documents and of each of their chunks; chunks of different documents share batches.

        Without `judge_chunks` a hierarchical model, which has to read each chunk once more for that, leaves it out.
        """
        parts = []
        # As many at a time as have room in memory with all of their tokens, which take a hundred times the text's own.
        for block in document_blocks(texts):
            chunks = encode_chunks(self.tokenizer, block, self.settings)
            outputs, documents = self._forward_all(chunks.fields), np.array(chunks.documents)
            chunks.fields = {}
            if self.document_head is None:
                logits = aggregate_arrays(outputs, documents, len(chunks.texts), self.settings.aggregation)
            else:
                starts = np.searchsorted(documents, np.arange(1, len(chunks.texts)))
                logits = np.stack([self.document_head(vectors) for vectors in np.split(outputs, starts)])
                if judge_chunks:
                    # A chunk's logits are those of a document that is this chunk alone.
                    outputs = np.stack([self.document_head(vector[None]) for vector in outputs])
            parts.append((chunks, outputs, logits))
        return ScoredDocuments(parts)

    def _forward_all(self, encoded: dict[str, list[list[int]]]) -> np.ndarray:
        lengths = np.array([len(ids) for ids in encoded["input_ids"]])
        order = np.argsort(-lengths, kind="stable")
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        # Whoever waits for one very long document wants to see that something happens.
        bar = tqdm(
            total=len(batches), unit="batch", desc="Reading", leave=False, disable=len(batches) < self.bar_from_batches
        )

        def read(batch: np.ndarray) -> np.ndarray:
            return self.forward(self._pad(encoded, batch))

        with bar:
            if self.workers > 1 and len(batches) > 1:
                # A call's own pool costs less than a batch, and callers in several threads never wait for each other.
                with ThreadPoolExecutor(min(self.workers, len(batches))) as pool:
                    parts = [_counted(part, bar) for part in pool.map(read, batches)]
            else:
                parts = [_counted(read(batch), bar) for batch in batches]
        rows = np.concatenate(parts)
        outputs = np.empty_like(rows)
        outputs[order] = rows
        return outputs

    def _pad(self, encoded: dict[str, list[list[int]]], batch: np.ndarray) -> dict[str, np.ndarray]:
        rows = {name: [values[row] for row in batch] for name, values in encoded.items()}
        return pad_rows(rows, self.tokenizer, self.pad_to_multiple_of, self.settings.max_length)


def document_blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Documents in their order, few enough at a time for their tokens to have room."""
    block: list[str] = []
    characters = 0
    for text in texts:
        length = len(text) if isinstance(text, str) else 0
        if block and (len(block) == DOCUMENTS_AT_ONCE or characters + length > CHARACTERS_AT_ONCE):
            yield block
            block, characters = [], 0
        block.append(text)
        characters += length
    if block:
        yield block


def _counted(part: np.ndarray, bar: tqdm[Any]) -> np.ndarray:
    bar.update()
    return part


@dataclass
class ScoredDocuments:
    """Documents with the logits of each chunk.

    Attributes:
        parts: chunks of some documents, the logits of these chunks `[chunks, width]`, and those of the documents
            `[documents, width]`.
    """

    parts: list[tuple[Chunks, np.ndarray, np.ndarray]]

    @property
    def logits(self) -> np.ndarray:
        """Logits of the documents, `[documents, width]`."""
        return np.concatenate([logits for _, _, logits in self.parts])

    @property
    def chunk_logits(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits of all chunks, `[chunks, width]`, and which document each is of, `[chunks]`."""
        starts = np.cumsum([0, *(len(chunks.texts) for chunks, _, _ in self.parts[:-1])])
        documents = [start + np.array(part[0].documents) for start, part in zip(starts, self.parts, strict=True)]
        return np.concatenate([outputs for _, outputs, _ in self.parts]), np.concatenate(documents)


def aggregate(logits: torch.Tensor, documents: torch.Tensor, count: int, method: str) -> torch.Tensor:
    """Chunk logits -> document logits.

    Args:
        logits: `[chunks, width]`.
        documents: `[chunks]`, which document each chunk is of, from 0; every document has a chunk. Chunks may come in
            any order.
        count: documents.
        method: `mean`, `max` or `logsumexp`.

    Returns:
        `[count, width]`.
    """
    index = documents.unsqueeze(-1).expand_as(logits)
    empty = logits.new_zeros(count, logits.shape[-1])
    if method == "mean":
        return empty.scatter_reduce(0, index, logits, reduce="mean", include_self=False)
    largest = empty.scatter_reduce(0, index, logits, reduce="amax", include_self=False)
    if method == "max":
        return largest
    # Shifted by the largest one, which cancels out, so that nothing overflows.
    shift = largest.detach()
    total = empty.scatter_add(0, index, (logits - shift.gather(0, index)).exp())
    return total.log() + shift


def aggregate_arrays(logits: np.ndarray, documents: np.ndarray, count: int, method: str) -> np.ndarray:
    """`aggregate` without torch, for models that run as ONNX files."""
    if method == "mean":
        total = np.zeros((count, logits.shape[-1]), dtype=np.float64)
        np.add.at(total, documents, logits)
        return (total / np.bincount(documents, minlength=count)[:, None]).astype(logits.dtype)
    largest = np.full((count, logits.shape[-1]), -np.inf, dtype=logits.dtype)
    np.maximum.at(largest, documents, logits)
    if method == "max":
        return largest
    total = np.zeros((count, logits.shape[-1]), dtype=np.float64)
    np.add.at(total, documents, np.exp(logits - largest[documents]))
    return (np.log(total) + largest).astype(logits.dtype)
