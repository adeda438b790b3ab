"""Classification losses as pure functions of logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from sentiment_hf.exceptions import InputError


def weighted_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy of each row, times the weight of the row's label.

    Args:
        logits: `[batch, classes]`.
        labels: `[batch]`, integers.
        weight: `[classes]`, or None for 1 everywhere.
        label_smoothing: share of the target that is spread evenly over all classes.

    Returns:
        `[batch]`. Rows are not averaged here: the normaliser is the number of rows of the whole optimizer step, which
        only the trainer knows. (torch's own weighted mean divides by the weights in the micro-batch, so that its
        gradient depends on how a step is cut into micro-batches.)
    """
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    return losses if weight is None else losses * weight.to(losses)[labels]


def symmetric_kl(logits_1: torch.Tensor, logits_2: torch.Tensor) -> torch.Tensor:
    """`KL(p1 || p2) + KL(p2 || p1)` of each row: `[batch, classes]` twice -> `[batch]`."""
    log_p1, log_p2 = F.log_softmax(logits_1, dim=-1), F.log_softmax(logits_2, dim=-1)
    return ((log_p1.exp() - log_p2.exp()) * (log_p1 - log_p2)).sum(dim=-1)


def rdrop_loss(
    logits_1: torch.Tensor,
    logits_2: torch.Tensor,
    labels: torch.Tensor,
    alpha: float,
    weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """R-Drop of each row: mean cross-entropy of two forwards plus `alpha` times half their symmetric divergence.

    Wu et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", with the mean of the two cross-entropies in the
    place of their sum, so that `alpha = 0` is plain training at the same learning rate. Class weights scale the
    cross-entropy only: the divergence asks for agreement, whatever the label.

    Args:
        logits_1: `[batch, classes]` under one dropout mask.
        logits_2: `[batch, classes]` of the same rows under another.
        labels: `[batch]`.
        alpha: weight of the divergence.
        weight: `[classes]` or None.
        label_smoothing: see `weighted_cross_entropy`.

    Returns:
        `[batch]`.
    """
    cross_entropy = weighted_cross_entropy(logits_1, labels, weight, label_smoothing)
    cross_entropy = (cross_entropy + weighted_cross_entropy(logits_2, labels, weight, label_smoothing)) / 2
    return cross_entropy + alpha * symmetric_kl(logits_1, logits_2) / 2


def class_weights(
    setting: str | Mapping[str, float], labels: Sequence[int], names: Sequence[str]
) -> torch.Tensor | None:
    """Weights of the classes, from the counts of the training rows.

    Weights are scaled so that their mean over the training rows is 1: the size of the loss, and with it the meaning of
    the learning rate, does not depend on them.

    Args:
        setting: `none`; `balanced` (inverse to a class's count); or label name -> weight (1 where left out).
        labels: label ids of the training rows.
        names: label names in the order of their ids.

    Returns:
        `[classes]`, or None for `none`.

    Raises:
        InputError: a weight for a label that does not exist, or one that is not above 0.
    """
    if setting == "none":
        return None
    counts = torch.bincount(torch.as_tensor(labels), minlength=len(names)).double()
    if isinstance(setting, Mapping):
        for name, value in setting.items():
            if name not in names:
                remedy = "Use the label names of the task."
                raise InputError(f"class_weights for {', '.join(names)}", repr(name), remedy)
            if not isinstance(value, int | float) or value <= 0:
                raise InputError(f"a weight above 0 for {name}", repr(value), "Leave the label out for 1.")
        weights = torch.tensor([float(setting.get(name, 1.0)) for name in names], dtype=torch.float64)
    else:
        # A class without training rows has no loss to weigh; 1 keeps the division finite.
        weights = 1 / counts.clamp(min=1)
    mean = (weights * counts).sum() / counts.sum()
    return (weights / mean).float()
