"""Per-row losses that can be composed: `RDrop(Distilled(ClassificationLoss(weight)), alpha=1.0)`.

Each is called with logits `[rows, classes]` and labels `[rows]` and gives `[rows]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F

from sentiment_hf.losses import IGNORE_INDEX
from sentiment_hf.utils.exceptions import InputError

if TYPE_CHECKING:
    from sentiment_hf.config.training_options import FineTuningOptions

# The paper's choice for data of this size.
EFFECTIVE_NUMBER_BETA = 0.999


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


def focal_loss(
    logits: torch.Tensor, labels: torch.Tensor, gamma: float, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of each row times `(1 - p) ** gamma`, p being the label's probability: easy rows count less.

    Lin et al. 2017, "Focal Loss for Dense Object Detection". `gamma = 0` is cross-entropy.

    Args:
        logits: `[batch, classes]`.
        labels: `[batch]`.
        gamma: at least 0; 2 is the paper's.
        weight: `[classes]`, the paper's alpha, or None.

    Returns:
        `[batch]`.
    """
    log_p = F.log_softmax(logits, dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    losses = -((1 - log_p.exp()) ** gamma) * log_p
    return losses if weight is None else losses * weight.to(losses)[labels]


@dataclass(frozen=True)
class ClassificationLoss:
    """Compute the loss of single rows: cross-entropy or focal loss, with class weights, smoothing and a prior.

    Attributes:
        weight: `[classes]`, see `class_weights`.
        label_smoothing: see `weighted_cross_entropy`; not together with focal, whose factor knows one label only.
        focal_gamma: 0 for cross-entropy.
        adjustment: `[classes]`, added to the logits before the loss (`logit_adjustment`), or None.
    """

    weight: torch.Tensor | None = None
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    adjustment: torch.Tensor | None = None

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.adjustment is not None:
            logits = logits + self.adjustment.to(logits)
        if self.focal_gamma > 0:
            return focal_loss(logits, labels, self.focal_gamma, self.weight)
        return weighted_cross_entropy(logits, labels, self.weight, self.label_smoothing)

    @classmethod
    def from_options(cls, options: FineTuningOptions | None, weight: Any = None, prior: Any = None) -> Self:
        """Compose the loss that a recipe asks for, with class weights and log priors `[classes]` or None."""
        if options is None:
            return cls()
        in_loss = prior is not None and options.logit_adjustment_at == "training"
        adjustment = options.logit_adjustment * prior if in_loss else None
        return cls(weight, options.label_smoothing_factor, options.focal_gamma, adjustment)

    def divergence(self, logits_1: torch.Tensor, logits_2: torch.Tensor) -> torch.Tensor:
        """R-Drop's divergence of each row, `[batch]`."""
        return symmetric_kl(logits_1, logits_2)


def distillation_loss(logits: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """How far a student is from its teacher in each row: `temperature² · KL(teacher || student)`, both softened.

    Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; the square keeps the size of the gradient.

    Args:
        logits: the student's, `[batch, classes]`.
        teacher: `[batch, classes]`.
        temperature: above 0; the higher, the more the teacher's small probabilities count.

    Returns:
        `[batch]`.
    """
    log_p = F.log_softmax(logits / temperature, dim=-1)
    log_q = F.log_softmax(teacher.to(logits) / temperature, dim=-1)
    return temperature**2 * (log_q.exp() * (log_q - log_p)).sum(dim=-1)


def symmetric_kl(logits_1: torch.Tensor, logits_2: torch.Tensor) -> torch.Tensor:
    """`KL(p1 || p2) + KL(p2 || p1)` of each row: `[batch, classes]` twice -> `[batch]`."""
    log_p1, log_p2 = F.log_softmax(logits_1, dim=-1), F.log_softmax(logits_2, dim=-1)
    return ((log_p1.exp() - log_p2.exp()) * (log_p1 - log_p2)).sum(dim=-1)


@dataclass(frozen=True)
class Distilled:
    """Add to a loss what a teacher's logits say of the rows; a row whose label is `IGNORE_INDEX` learns from these
    alone.

    Attributes:
        inner: the loss of the labels.
        weight: of the teacher, from 0 to 1; the labels have the rest.
        temperature: see `distillation_loss`.
    """

    inner: Callable[..., torch.Tensor]
    weight: float = 0.5
    temperature: float = 2.0

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None = None) -> torch.Tensor:
        if teacher is None:
            return self.inner(logits, labels)
        from_labels = self.inner(logits, labels.clamp(min=0)).masked_fill(labels == IGNORE_INDEX, 0.0)
        return (1 - self.weight) * from_labels + self.weight * distillation_loss(logits, teacher, self.temperature)

    def divergence(self, logits_1: torch.Tensor, logits_2: torch.Tensor) -> torch.Tensor:
        """Return the divergence of the loss of the labels."""
        divergence: torch.Tensor = self.inner.divergence(logits_1, logits_2)  # type: ignore[attr-defined]
        return divergence


@dataclass(frozen=True)
class RDrop:
    """Compute R-Drop of two forwards: the mean of their losses plus `alpha` times half their symmetric divergence.

    Wu et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", with the mean of the two losses in the place of
    their sum, so that `alpha = 0` is plain training at the same learning rate. Class weights, focal factors and logit
    adjustment belong to the loss of the label; the divergence asks for agreement, whatever the label.

    Attributes:
        inner: the loss of one forward, with a `divergence` of two.
        alpha: weight of the divergence.
    """

    inner: Any
    alpha: float = 1.0

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None = None) -> torch.Tensor:
        """Logits `[2 * rows, classes]`, of the rows under one dropout mask and again under another -> `[rows]`."""
        logits_1, logits_2 = logits.chunk(2)
        told = () if teacher is None else (teacher,)
        losses: torch.Tensor = (self.inner(logits_1, labels, *told) + self.inner(logits_2, labels, *told)) / 2
        return losses + self.alpha * self.inner.divergence(logits_1, logits_2) / 2


def class_weights(
    setting: str | Mapping[str, float], labels: Sequence[int], names: Sequence[str], beta: float = EFFECTIVE_NUMBER_BETA
) -> torch.Tensor | None:
    """Weights of the classes, from the counts of the training rows.

    Weights are scaled so that their mean over the training rows is 1: the size of the loss, and with it the meaning of
    the learning rate, does not depend on them.

    Args:
        setting: `none`; `balanced` (inverse to a class's count); `effective_number` (inverse to `1 - beta ** count`,
            which grows more slowly where rows repeat each other; Cui et al. 2019, "Class-Balanced Loss Based on
            Effective Number of Samples"); or label name -> weight (1 where left out).
        labels: label ids of the training rows.
        names: label names in the order of their ids.
        beta: of `effective_number`, from 0 (no weights) to below 1 (towards `balanced`).

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
        counted = counts.clamp(min=1)
        weights = 1 / (counted if setting == "balanced" else (1 - beta**counted))
    mean = (weights * counts).sum() / counts.sum()
    return (weights / mean).float()


def log_prior(labels: Sequence[int], names: Sequence[str]) -> torch.Tensor:
    """Logarithms of the classes' shares in the training rows, `[classes]`, for logit adjustment.

    Menon et al. 2021, "Long-Tail Learning via Logit Adjustment": `logits + tau * log_prior` in the training loss, or
    `logits - tau * log_prior` at prediction.

    Raises:
        InputError: a class without training rows, whose prior is 0.
    """
    counts = torch.bincount(torch.as_tensor(labels), minlength=len(names)).double()
    if (counts == 0).any():
        found = f"none for {', '.join(name for name, count in zip(names, counts, strict=True) if count == 0)}"
        raise InputError("training rows of every class for logit adjustment", found, "Use class weights instead.")
    return (counts / counts.sum()).log().float()
