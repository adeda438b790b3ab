"""More positions than a checkpoint has, by stretching its table."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.loading import max_positions

logger = logging.getLogger(__name__)


def extend_positions(model: PreTrainedModel, positions: int) -> None:
    """Stretch the table of position embeddings of a BERT, in place, to a longer maximal input.

    New rows lie linearly between the old ones (as Chen et al. 2023, "Position Interpolation", do it for rotary
    positions). Neighbouring tokens then stand closer together than the model has ever seen, so that it has to be
    fine-tuned, and even then may do worse than sliding windows.

    Args:
        model: a classifier whose encoder learned a table of absolute positions.
        positions: of the longest input, at least what the model has.

    Raises:
        InputError: no such table, or fewer positions than there are.
    """
    table = next((module for name, module in model.named_modules() if name.endswith("position_embeddings")), None)
    before = max_positions(model.config)
    kind = model.config.model_type
    if not isinstance(table, torch.nn.Embedding) or before is None:
        raise InputError("a table of absolute positions for extend_positions", f"none in a {kind}", "Leave it out.")
    if positions < before:
        raise InputError(f"extend_positions of at least {before}, which the model has", str(positions), "Leave it out.")
    # Some models count from an offset: the rows before it hold no position and stay as they are.
    offset = table.num_embeddings - before
    old = table.weight.detach()
    stretched = F.interpolate(old[offset:].T.unsqueeze(0), size=positions, mode="linear", align_corners=True)
    table.weight = torch.nn.Parameter(torch.cat([old[:offset], stretched.squeeze(0).T]).contiguous())
    table.num_embeddings = offset + positions
    model.config.max_position_embeddings = offset + positions
    embeddings = next(module for module in model.modules() if getattr(module, "position_embeddings", None) is table)
    for name in ("position_ids", "token_type_ids"):
        if isinstance(buffer := getattr(embeddings, name, None), torch.Tensor):
            filled = (
                torch.arange(offset + positions) if name == "position_ids" else torch.zeros(offset + positions).long()
            )
            embeddings.register_buffer(name, filled.unsqueeze(0).to(buffer.device), persistent=False)
    logger.warning(
        "extend_positions: %d positions stretched to %d; an unstable way to read long texts, sliding windows "
        "(`truncation: sliding`) are the steady one",
        before,
        positions,
    )
