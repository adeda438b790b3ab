"""A torch model as a function of numpy arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel


def torch_forward(model: PreTrainedModel) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """`{input_ids, attention_mask, …}` as integer arrays `[batch, tokens]` -> FP32 logits `[batch, classes]`.

    The model is put into evaluation mode and runs where it is.
    """
    model.eval()
    device = model.device

    @torch.inference_mode()
    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        tensors = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
        return model(**tensors).logits.float().cpu().numpy()

    return forward
