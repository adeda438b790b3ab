"""A torch model as a function of numpy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel


def torch_forward(model: PreTrainedModel) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """`{input_ids, attention_mask, …}` as integer arrays `[batch, tokens]` -> FP32 answers `[batch, width]`.

    The answers are the logits of the classes; of a model with aspects, what `AspectTask.unpack` takes apart. The model
    is put into evaluation mode and runs where it is.
    """
    model.eval()
    device = model.device

    @torch.inference_mode()
    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        tensors = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
        return packed(model(**tensors)).float().cpu().numpy()

    return forward


def packed(outputs: Any) -> torch.Tensor:
    """All that a model says of each text as one row, `[batch, width]`; of a stock classifier the logits as they are."""
    rating = getattr(outputs, "rating", None)
    logits: torch.Tensor = outputs.logits.flatten(1)
    return logits if rating is None else torch.cat([logits, rating.to(logits)], dim=1)
