"""The order of rows in training, as an override of one public hook: resumable, and grouped by length."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import torch
from accelerate.state import AcceleratorState, is_initialized
from transformers import Trainer, set_seed

from sentiment_hf.data.sampling import EpochSampler
from sentiment_hf.training.arguments import RecipeTrainingArguments
from sentiment_hf.training.raw_datasets import ids_of, lengths_of


class OrderedTrainer(Trainer):
    """A `Trainer` whose batches come in an order that is a pure function of seed and epoch.

    With `length_grouping` rows of similar length share a batch, where the dataset is one of the `datasets` library.
    """

    args: RecipeTrainingArguments
    # One of `sentiment_hf.options.SAMPLERS`; the others need a `labels` column.
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
