"""An adjustment of a classifier's logits that is part of its weights, so that any loader keeps it."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.forward import last_linear


def output_layer(model: PreTrainedModel, width: int) -> torch.nn.Linear:
    """Find the layer that a classifier's logits come from.

    Args:
        model: a sequence classifier.
        width: of the logits: classes, or aspects times values.

    Raises:
        InputError: its last layer of that width has no bias.
    """
    _, layer = last_linear(model, width)
    if layer is None or layer.bias is None:
        remedy = "Use logit_adjustment_at: training."
        raise InputError("a head with a bias, for logit_adjustment_at: prediction", "one without", remedy)
    return layer


def fold_logit_adjustment(model: PreTrainedModel, shift: torch.Tensor) -> None:
    """Add to the bias of a classifier's last layer, in place.

    Args:
        model: a sequence classifier.
        shift: `[classes]`, or `[aspects * values]`.
    """
    bias = output_layer(model, len(shift)).bias
    with torch.no_grad():
        bias.add_(shift.to(bias))
