"""`SentimentTrainer`: R-Drop and class weights, as an override of a public hook."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from sentiment_hf.exceptions import InputError
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.training.losses import rdrop_loss, weighted_cross_entropy
from sentiment_hf.training.order import OrderedTrainer

# What the data pipeline carries along with a row and the model's forward does not take.
ROW_FIELDS = ("doc_id", "length")


class SentimentTrainer(OrderedTrainer):
    """A `Trainer` for classifiers of text.

    The training loss is taken from the logits: cross-entropy with optional class weights and label smoothing and, with
    `rdrop_alpha` above 0, R-Drop over one forward of the batch concatenated with itself. It is divided by the number of
    rows in the whole optimizer step over all processes, so that cutting a step into micro-batches changes nothing.
    Evaluation is plain cross-entropy: `eval_loss` can be compared between all these settings.

    Args:
        class_weight: `[classes]` or None, see `sentiment_hf.training.losses.class_weights`.
        kwargs: as for `Trainer`. `train_dataset` has a `length` column where `length_grouping` is on.
    """

    args: SentimentTrainingArguments

    def __init__(self, *, class_weight: torch.Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.class_weight = class_weight
        if self.args.rdrop_alpha > 0 and not _has_dropout(self.model):
            found = f"rdrop_alpha {self.args.rdrop_alpha:g} and no dropout"
            remedy = "Set hidden_dropout_prob: 0.1 in `config_overrides`, or rdrop_alpha to 0."
            raise InputError("dropout for R-Drop, whose two forwards differ in nothing else", found, remedy)
        # Trainer then counts the rows of an optimizer step and leaves the scaling of the loss to compute_loss.
        self.model_accepts_loss_kwargs = True

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of a micro-batch, as a share of its optimizer step in training and as a mean in evaluation."""
        labels = inputs["labels"]
        features = {name: value for name, value in inputs.items() if name not in ("labels", *ROW_FIELDS)}
        if not model.training:
            outputs = model(**features)
            loss = F.cross_entropy(outputs.logits.float(), labels)
            return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss

        alpha, smoothing = self.args.rdrop_alpha, self.args.label_smoothing_factor
        if alpha > 0:
            # One forward over both halves: dropout draws its masks element by element, so they differ.
            features = {name: torch.cat([value, value]) for name, value in features.items()}
            outputs = model(**features)
            logits_1, logits_2 = outputs.logits.float().chunk(2)
            losses = rdrop_loss(logits_1, logits_2, labels, alpha, self.class_weight, smoothing)
        else:
            outputs = model(**features)
            losses = weighted_cross_entropy(outputs.logits.float(), labels, self.class_weight, smoothing)
        loss = self._share_of_step(losses, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _share_of_step(self, losses: torch.Tensor, rows_in_step: torch.Tensor | int | None) -> torch.Tensor:
        if rows_in_step is None:
            return losses.mean()
        loss = losses.sum() / rows_in_step
        # Distributed training averages gradients over processes; where the rows of all of them were counted, the
        # average of these shares is short by that factor.
        return loss * self.accelerator.num_processes if self.args.average_tokens_across_devices else loss


def _has_dropout(model: torch.nn.Module) -> bool:
    return any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
