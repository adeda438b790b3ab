"""Wrap a torch model as a function of numpy arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from sentiment_hf.modeling.configuration_bert_heads import HierarchicalBertConfig


def reads_documents(model: PreTrainedModel) -> bool:
    """Whether a model reads over the chunks of a document, so that a chunk alone has no logits."""
    return bool(model.config.model_type == HierarchicalBertConfig.model_type)


def torch_forward(model: PreTrainedModel) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """`{input_ids, attention_mask, …}` as integer arrays `[batch, tokens]` -> FP32 logits `[batch, width]`.

    They are those of the classes; of a model with aspects, what `AspectTask.unpack` takes apart. The model
    is put into evaluation mode and runs where it is. Of a hierarchical model these are the encodings of chunks, which
    `torch_document_head` reads.
    """
    model.eval()
    device = model.device
    # A tokenizer may make segments that the model does not know.
    known = inspect.signature(model.forward).parameters
    is_hierarchical = reads_documents(model)

    @torch.inference_mode()
    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        tensors = {name: torch.from_numpy(array).to(device) for name, array in batch.items() if name in known}
        if is_hierarchical:
            return model.embed_chunks(**tensors).embedding.float().cpu().numpy()
        return concat_heads(model(**tensors)).float().cpu().numpy()

    return forward


def torch_document_head(model: PreTrainedModel) -> Callable[[np.ndarray], np.ndarray] | None:
    """Of a hierarchical model: encodings of a document's chunks `[chunks, hidden]` -> FP32 logits `[classes]`."""
    if not reads_documents(model):
        return None
    model.eval()

    @torch.inference_mode()
    def head(vectors: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(vectors).to(model.device, model.dtype)
        return model.document(tensor.unsqueeze(0)).squeeze(0).float().cpu().numpy()

    return head


def concat_heads(outputs: Any) -> torch.Tensor:
    """All logits of each text as one row, `[batch, width]`; of a stock classifier the logits as they are."""
    rating = getattr(outputs, "rating", None)
    logits: torch.Tensor = outputs.logits.flatten(1)
    return logits if rating is None else torch.cat([logits, rating.to(logits)], dim=1)


def last_linear(model: PreTrainedModel, width: int) -> tuple[str, torch.nn.Linear | None]:
    """Find the layer that a classifier's logits come from, and its name: the last linear one of that width.

    Args:
        model: a sequence classifier.
        width: of the logits: classes, or aspects times values.

    Returns:
        None in the layer's place where the model has none of that width.
    """
    found: tuple[str, torch.nn.Linear | None] = "", None
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module.out_features == width:
            found = name, module
    return found
