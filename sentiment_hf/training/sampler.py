"""The order of training rows: a function of seed and epoch, resumable and grouped by length."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from accelerate.state import AcceleratorState, is_initialized
from torch.utils.data import Sampler
from transformers import Trainer, set_seed

from sentiment_hf.training.arguments import RecipeTrainingArguments
from sentiment_hf.training.raw_datasets import ids_of, lengths_of


class OrderedTrainer(Trainer):
    """A `Trainer` whose batches come in an order that is a pure function of seed and epoch.

    With `length_grouping` rows of similar length share a batch, where the dataset is one of the `datasets` library.
    """

    args: RecipeTrainingArguments
    # One of `sentiment_hf.config.options.SAMPLERS`; the others need a `labels` column.
    sampler = "none"

    def __init__(self, model: Any, args: RecipeTrainingArguments, *rest: Any, **kwargs: Any) -> None:
        # accelerate reads the precision from the environment, where the last arguments that were made have left theirs,
        # and keeps that of the first trainer of a process.
        mixed = {"fp32": "no"}.get(args.precision, args.precision)
        os.environ["ACCELERATE_MIXED_PRECISION"] = mixed
        if is_initialized() and AcceleratorState().mixed_precision != mixed:
            AcceleratorState._reset_state()
        super().__init__(model, args, *rest, **kwargs)

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """Batches in an order that is a pure function of seed and epoch, grouped by length on request."""
        if self.train_dataset is None:
            raise ValueError("Trainer: training requires a train_dataset.")
        args = self.args
        rows_per_batch = args.train_batch_size * args.world_size
        lengths = lengths_of(self.train_dataset) if args.length_grouping else None
        seed = args.seed if args.data_seed is None else args.data_seed
        labels = None if self.sampler == "none" else ids_of(self.train_dataset)
        sampler = EpochSampler(len(self.train_dataset), rows_per_batch, seed, lengths, labels, self.sampler)
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

    def gathered_weights(self) -> dict[str, torch.Tensor] | None:
        """All weights, on the CPU of the first process, of a model that processes share (FSDP); of any other None.

        Every process has to call it: each has a part of every weight, and no other has a copy.
        """
        if not self.is_fsdp_enabled:
            return None
        weights: dict[str, torch.Tensor] = self.accelerator.get_state_dict(self.model_wrapped)
        return weights


def _seed_worker(seed: int, worker_id: int) -> None:
    set_seed(seed + worker_id)


# Batches that are sorted together. Larger means less padding and less randomness in what shares a batch.
BATCHES_PER_POOL = 50


class EpochSampler(Sampler[int]):
    """Shuffles rows, may balance their classes, and puts rows of similar length into the same batch.

    Transformers' own length-grouping sampler draws from the global generator, so a run that is resumed in a later
    epoch would see another order than one that was never stopped. This one can always say what epoch n looks like.

    Args:
        num_rows: rows of the dataset.
        batch_size: rows of a batch over all processes, the unit in which lengths are grouped.
        seed: another seed gives another order.
        lengths: tokens of each row; None shuffles without grouping.
        labels: class of each row; needed by `sampler`.
        sampler: `none`: every row once an epoch; `weighted`: as many rows, drawn with replacement so that every class
            is as likely; `downsample`: of every class as many rows, without replacement, as the rarest one has, other
            ones every epoch.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        seed: int,
        lengths: Sequence[int] | None = None,
        labels: Sequence[int] | None = None,
        sampler: str = "none",
    ) -> None:
        self.num_rows, self.batch_size, self.seed, self.sampler = num_rows, batch_size, seed, sampler
        self.lengths = None if lengths is None else torch.as_tensor(lengths)
        if sampler != "none" and labels is None:
            raise ValueError(f"sampler {sampler!r} needs labels")
        self.labels = torch.zeros(num_rows, dtype=torch.long) if labels is None else torch.as_tensor(labels)
        self.counts = self.labels.bincount()
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the data loader calls this at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.sampler == "downsample":
            present = self.counts[self.counts > 0]
            return int(present.min()) * len(present)
        return self.num_rows

    def _draw(self, generator: torch.Generator) -> torch.Tensor:
        """Draw the rows of an epoch, shuffled."""
        if self.sampler == "weighted":
            weights = 1 / self.counts[self.labels].double()
            return torch.multinomial(weights, self.num_rows, replacement=True, generator=generator)
        order = torch.randperm(self.num_rows, generator=generator)
        if self.sampler == "none":
            return order
        rarest = self.counts[self.counts > 0].min()
        shuffled = self.labels[order]
        # How many rows of its class stand before a row: the first `rarest` of each class are taken.
        place = torch.empty_like(shuffled)
        for label in shuffled.unique():
            of_class = shuffled == label
            place[of_class] = torch.arange(int(of_class.sum()))
        return order[place < rarest]

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        order = self._draw(generator)
        if self.lengths is None:
            yield from order.tolist()
            return
        batches: list[list[int]] = []
        for pool in order.split(self.batch_size * BATCHES_PER_POOL):
            by_length = pool[self.lengths[pool].argsort(descending=True, stable=True)]
            batches += [batch.tolist() for batch in by_length.split(self.batch_size)]
        # The last pool may end in a short batch, which must stay last or every later batch would straddle two groups.
        short = batches.pop() if len(batches[-1]) < self.batch_size else []
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield from batches[index]
        yield from short
