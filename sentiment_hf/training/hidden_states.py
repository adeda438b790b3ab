"""Learning from what a teacher's layers hold, and not from its logits alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.forward import concat_heads

# Columns of the tokenized training rows.
TEACHER_LOGITS, TEACHER_STATES = "teacher_logits", "teacher_states"


def teacher_layers(student: PreTrainedModel, teacher: PreTrainedModel) -> list[int]:
    """Which layer of the teacher each of the student's learns from, counted from 1, evenly spread, the last from the
    last.

    Raises:
        InputError: layers of another width, or a teacher with fewer of them.
    """
    ours, theirs = student.config, teacher.config
    if ours.hidden_size != theirs.hidden_size or ours.num_hidden_layers > theirs.num_hidden_layers:
        found = (
            f"{theirs.num_hidden_layers} layers of {theirs.hidden_size} for {ours.num_hidden_layers} layers of "
            f"{ours.hidden_size}"
        )
        expected = "a teacher with layers as wide as the student's, and no fewer, for distillation_hidden_weight"
        raise InputError(expected, found, "Set it to 0: logits need no equal shapes.")
    step = theirs.num_hidden_layers / ours.num_hidden_layers
    return [round((place + 1) * step) for place in range(ours.num_hidden_layers)]


def first_token_states(outputs: Any, layers: Sequence[int]) -> torch.Tensor:
    """Stack what some layers hold at the first token, `[batch, layers, hidden]`, of outputs with `hidden_states`."""
    return torch.stack([outputs.hidden_states[layer][:, 0] for layer in layers], dim=1)


def logits_and_states(model: PreTrainedModel, layers: Sequence[int]) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """As `torch_forward`, with the states of some layers after the logits: `[batch, classes + layers * hidden]`."""
    model.eval()

    @torch.inference_mode()
    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        tensors = {name: torch.from_numpy(array).to(model.device) for name, array in batch.items()}
        outputs = model(**tensors, output_hidden_states=True)
        states = first_token_states(outputs, layers).flatten(1)
        return torch.cat([concat_heads(outputs), states], dim=1).float().cpu().numpy()

    return forward


def state_loss(states: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared distance of normalised states, the mean over layers, `[batch]`.

    Sun et al. 2019, "Patient Knowledge Distillation for BERT Model Compression". The first token stands in every
    tokenizer's row, so the two models may cut their text differently.

    Args:
        states: `[batch, layers, hidden]`.
        teacher: the same shape.
    """
    distance = F.normalize(states.float(), dim=-1) - F.normalize(teacher.float(), dim=-1)
    return distance.square().sum(dim=-1).mean(dim=-1)
