"""The loss of aspects and a star rating, as pure functions of a model's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from sentiment_hf.losses.classification import ClassificationLoss, class_weights, log_prior, symmetric_kl
from sentiment_hf.tasks.aspects import STARS, VALUES, AspectTask
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.utils.exceptions import InputError

TASK_WEIGHTS = {"aspects": 1.0, "rating": 1.0}


def ordinal_targets(stars: torch.Tensor) -> torch.Tensor:
    """Stars `[batch]` -> whether there are more than 1, 2, 3 and 4 of them, `[batch, 4]`, as 0 and 1."""
    return (stars.unsqueeze(-1) > torch.tensor(STARS[:-1], device=stars.device)).float()


def rating_losses(rating: torch.Tensor, stars: torch.Tensor) -> torch.Tensor:
    """Compute the loss of each row's stars; 0 where they are missing.

    Args:
        rating: `[batch, 4]`, logits of more than 1, 2, 3 and 4 stars: the mean of their binary cross-entropies (Cao et
            al. 2020, "CORAL"); or `[batch, 1]`, the stars: their squared error.
        stars: `[batch]`, 1 to 5 or `MISSING`.

    Returns:
        `[batch]`.
    """
    if rating.shape[-1] == 1:
        losses = (rating.squeeze(-1) - stars.to(rating)) ** 2
    else:
        targets = ordinal_targets(stars).to(rating)
        losses = F.binary_cross_entropy_with_logits(rating, targets, reduction="none").mean(dim=-1)
    return losses.masked_fill(stars == MISSING, 0.0)


def rating_divergence(rating_1: torch.Tensor, rating_2: torch.Tensor) -> torch.Tensor:
    """How far two forwards disagree about the stars, `[batch]`: symmetric KL of the steps, or squared difference."""
    if rating_1.shape[-1] == 1:
        return (rating_1 - rating_2).squeeze(-1) ** 2
    difference = (rating_1.sigmoid() - rating_2.sigmoid()) * (rating_1 - rating_2)
    return difference.mean(dim=-1)


@dataclass(frozen=True)
class AspectLoss:
    """The loss of rows with several aspects and a rating; calling it gives `[batch]`.

    Each aspect has the loss that a recipe composes for one label, with weights and priors of its own. The sum over a
    row's known cells is divided by the number of aspects, whatever the number of known ones: a row that says little
    counts little, and cutting a batch changes nothing.

    Attributes:
        task: number of aspects, and what the rating is.
        cells: one loss an aspect.
        weights: of `aspects` and `rating`.
    """

    task: AspectTask
    cells: tuple[ClassificationLoss, ...]
    weights: Mapping[str, float] = field(default_factory=lambda: dict(TASK_WEIGHTS))

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute losses from outputs `[batch, width]` and labels `[batch, aspects (+ 1)]` -> `[batch]`."""
        logits, rating = self._unpack(outputs)
        losses = outputs.new_zeros(len(outputs))
        for place, cell_loss in enumerate(self.cells):
            values = labels[:, place]
            known = values != MISSING
            losses = losses + cell_loss(logits[:, place], values.clamp(min=0)).masked_fill(~known, 0.0)
        losses = self.weights["aspects"] * losses / len(self.cells)
        if rating is None:
            return losses
        return losses + self.weights["rating"] * rating_losses(rating, labels[:, -1])

    def divergence(self, outputs_1: torch.Tensor, outputs_2: torch.Tensor) -> torch.Tensor:
        """R-Drop's divergence over both heads, `[batch]`: the mean over aspects, and that of the rating."""
        (logits_1, rating_1), (logits_2, rating_2) = self._unpack(outputs_1), self._unpack(outputs_2)
        divergence = self.weights["aspects"] * symmetric_kl(logits_1, logits_2).mean(dim=-1)
        if rating_1 is None or rating_2 is None:
            return divergence
        return divergence + self.weights["rating"] * rating_divergence(rating_1, rating_2)

    def _unpack(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        width = len(self.cells) * len(VALUES)
        logits = outputs[:, :width].unflatten(-1, (len(self.cells), len(VALUES)))
        return logits, outputs[:, width:] if self.task.has_rating else None


def aspect_weights(
    labels: Sequence[tuple[int, ...]], task: AspectTask, setting: str | Mapping[str, float], beta: float
) -> torch.Tensor | None:
    """Class weights of each aspect from its known cells of the training rows, `[aspects, values]`; see `class_weights`.

    None for `none`. An aspect without known cells has weight 1 everywhere.
    """
    if setting == "none":
        return None
    rows = [class_weights(setting, known or [0], VALUES, beta) for known in _known_cells(labels, task)]
    return torch.stack([torch.ones(len(VALUES)) if row is None else row for row in rows])


def aspect_priors(labels: Sequence[tuple[int, ...]], task: AspectTask) -> torch.Tensor:
    """Log priors of each aspect's values, `[aspects, values]`; see `log_prior`.

    Raises:
        InputError: an aspect one of whose values has no training rows.
    """
    priors = []
    for aspect, known in zip(task.aspects, _known_cells(labels, task), strict=True):
        try:
            priors.append(log_prior(known, VALUES))
        except InputError as error:
            raise InputError(error.expected, f"{error.found} of {aspect}", error.remedy) from None
    return torch.stack(priors)


def _known_cells(labels: Sequence[tuple[int, ...]], task: AspectTask) -> list[list[int]]:
    cells = np.array(list(labels))
    return [column[column != MISSING].tolist() for column in cells.T[: len(task.aspects)]]


def task_weights(setting: Mapping[str, Any] | None) -> dict[str, float]:
    """Weights of the two losses as a recipe gives them.

    Raises:
        InputError: another loss, or a weight below 0.
    """
    for name, value in (setting or {}).items():
        if name not in TASK_WEIGHTS:
            raise InputError(f"task_weights for {', '.join(TASK_WEIGHTS)}", repr(name), "Use these names.")
        if not isinstance(value, int | float) or value < 0:
            raise InputError(f"a weight of at least 0 for {name}", repr(value), "Leave it out for 1.")
    return TASK_WEIGHTS | {name: float(value) for name, value in (setting or {}).items()}


def star_log_odds(labels: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Log odds of more than 1, 2, 3 and 4 stars in the training rows, `[4]`: where an ordinal head should start.

    AdamW moves a threshold by no more than the learning rate a step, so that from 0 they would not get there.
    """
    stars = np.array([label[-1] for label in labels])
    stars = stars[stars != MISSING]
    more = [((stars > step).sum() + 1) / (len(stars) + 2) for step in STARS[:-1]]
    return torch.tensor(np.log(more) - np.log1p(-np.array(more)), dtype=torch.float32)
