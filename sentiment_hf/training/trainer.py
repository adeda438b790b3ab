"""`SentimentTrainer`: R-Drop, class weights and a resumable order of rows, as overrides of public hooks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from transformers import Trainer, set_seed

from sentiment_hf.data.sampling import EpochSampler
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.training.losses import rdrop_loss, weighted_cross_entropy

# What the data pipeline carries along with a row and the model's forward does not take.
ROW_FIELDS = ("doc_id", "length")


class SentimentTrainer(Trainer):
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

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """Batches in an order that is a pure function of seed and epoch, grouped by length on request."""
        if self.train_dataset is None:
            raise ValueError("Trainer: training requires a train_dataset.")
        args = self.args
        rows_per_batch = args.train_batch_size * args.world_size
        lengths = self.train_dataset["length"][:] if args.length_grouping else None
        seed = args.seed if args.data_seed is None else args.data_seed
        sampler = EpochSampler(len(self.train_dataset), rows_per_batch, seed, lengths)
        workers = args.dataloader_num_workers
        loader = torch.utils.data.DataLoader(
            self.train_dataset,
            batch_size=args.train_batch_size,
            sampler=sampler,
            collate_fn=self.data_collator,
            drop_last=args.dataloader_drop_last,
            num_workers=workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers and workers > 0,
            prefetch_factor=args.dataloader_prefetch_factor if workers else None,
            worker_init_fn=partial(_seed_worker, args.seed) if workers else None,
            # Without a generator of its own the loader draws from the global one that dropout uses.
            generator=torch.Generator().manual_seed(args.seed),
        )
        return self.accelerator.prepare(loader)


def _seed_worker(seed: int, worker_id: int) -> None:
    set_seed(seed + worker_id)
