"""The order in which an epoch sees its rows: a pure function of the seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

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
