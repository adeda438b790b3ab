"""What the shares of the classes in the training rows ask of the loss: class weights and log priors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sentiment_hf.aspects import AspectTask
from sentiment_hf.data.labelled import AnyTask
from sentiment_hf.exceptions import InputError
from sentiment_hf.training.aspect_losses import aspect_priors, aspect_weights, task_weights
from sentiment_hf.training.losses import class_weights, log_prior
from sentiment_hf.training_options import FineTuningOptions


def imbalance(options: FineTuningOptions, labels: Sequence[Any], task: AnyTask) -> dict[str, torch.Tensor | None]:
    """Compute the class weights and log priors that the options ask for, as `SentimentTrainer` takes them.

    Args:
        options: `class_weights`, `effective_number_beta`, `logit_adjustment`, `sampler` and `task_weights`.
        labels: ids of the labelled training rows; for aspects tuples of ids.
        task: whose labels they are.

    Returns:
        `class_weight` and `log_prior`, each `[classes]` or `[aspects, values]`, or None.

    Raises:
        InputError: see `class_weights` and `log_prior`; a sampler for aspects.
    """
    adjusted = options.logit_adjustment > 0
    if not isinstance(task, AspectTask):
        weight = class_weights(options.class_weights, labels, task.labels, options.effective_number_beta)
        return {"class_weight": weight, "log_prior": log_prior(labels, task.labels) if adjusted else None}
    if options.sampler != "none":
        remedy = "A row has one value for each aspect. Use class_weights, which are taken aspect by aspect."
        raise InputError("sampler: none for aspects", options.sampler, remedy)
    task_weights(options.task_weights)  # type: ignore[arg-type]
    weights = aspect_weights(labels, task, options.class_weights, options.effective_number_beta)
    return {"class_weight": weights, "log_prior": aspect_priors(labels, task) if adjusted else None}
