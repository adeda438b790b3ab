"""`Task`: everything that depends on the kind of label. No other module checks which task it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sentiment_hf.tasks.labels import MISSING, LabelSpace
from sentiment_hf.utils.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from sentiment_hf.config.training_options import FineTuningOptions
    from sentiment_hf.tasks.predictions import AnyPrediction

TOP_K = 3


@dataclass(frozen=True)
class Cell:
    """One of the things that a model tells of a text: its label, the value of an aspect, or the stars.

    Attributes:
        name: of the aspect, or `stars`; empty where a text has one label.
        values: their names, in the order of their ids.
        first: its first column among a model's logits.
        width: how many columns it has.
        first_id: the id of the first value.
        read_scale: of a cell whose values are steps of a scale, logits `[rows, width]` -> the likeliest ids and the
            expected ones, floats, both `[rows]`; None for classes, which have a logit each.
    """

    name: str
    values: tuple[str, ...]
    first: int
    width: int
    first_id: int = 0
    read_scale: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None

    @property
    def is_scale(self) -> bool:
        """Whether its values are steps of a scale."""
        return self.read_scale is not None

    def logits(self, logits: np.ndarray) -> np.ndarray:
        """`[rows, all columns]` -> `[rows, width]`."""
        return logits[:, self.first : self.first + self.width]

    def ids(self, logits: np.ndarray) -> np.ndarray:
        """`[rows, all columns]` -> the ids that the model chooses, `[rows]`."""
        own = self.logits(logits)
        chosen: np.ndarray = own.argmax(axis=-1) if self.read_scale is None else self.read_scale(own)[0]
        return chosen

    def id_of(self, value: str) -> int:
        """Return the id of a value."""
        return self.first_id + self.values.index(value)

    def value_of(self, index: int) -> str:
        """Return the name of an id's value."""
        return self.values[index - self.first_id]


@dataclass(frozen=True)
class LabelColumn:
    """A column of a table that holds one cell of a row's label.

    Attributes:
        title: what a message calls it.
        usual: names that it may have, the likeliest first.
        parse: a raw value -> an id, `MISSING` for an empty one, None for one that means nothing.
        expected: the values, for a message.
        wanted: the name that was asked for; None: one of the usual ones.
        required: False where files that are only scored may lack it.
    """

    title: str
    usual: tuple[str, ...]
    parse: Callable[[Any], int | None]
    expected: str
    wanted: str | None = None
    required: bool = True


class Task(ABC):
    """What a text is labelled with, and what follows from it: columns, splits, loss, scores, predictions, model.

    A row's label is an id, or, where a task has several cells, a tuple with one id for each of them.
    """

    # Whether a row has one label, whose id is that of a class.
    is_single_label: ClassVar[bool] = False
    # Whether rows with labels can be read; without them a model predicts, and that is all.
    has_labelled_rows: ClassVar[bool] = True
    # What messages call a model of it.
    kind: ClassVar[str]

    name: str
    # The score that picks the best checkpoint and that INT8 is gated by.
    metric: str
    # What a label in a file means; None where cells are ids from the moment that they are read.
    space: LabelSpace | None

    # The id of a value that says that a text says nothing of a cell; None where there is no such value.
    unsaid: ClassVar[int | None] = None

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of their ids."""

    @property
    def id2label(self) -> dict[int, str]:
        """Ids and names, as a model's config has them."""
        return dict(enumerate(self.labels))

    @property
    def label2id(self) -> dict[str, int]:
        """Names and ids, as a model's config has them."""
        return {label: index for index, label in enumerate(self.labels)}

    @property
    @abstractmethod
    def cells(self) -> tuple[Cell, ...]:
        """What a model tells of a text, in the order of its logits."""

    def class_cells(self) -> tuple[Cell, ...]:
        """Select the cells that are classes."""
        return tuple(cell for cell in self.cells if not cell.is_scale)

    # Rows.

    def label_columns(self) -> tuple[LabelColumn, ...]:
        """Return the columns that hold a row's cells; none where one column holds the label itself."""
        return ()

    @abstractmethod
    def check_training(self, labels: Sequence[Any]) -> None:
        """Raise InputError where nothing can be learned from training rows with these labels; warn of what cannot."""

    def strata(self, labels: Iterable[Any]) -> list[Any]:
        """Return what a split keeps the shares of, for each row."""
        return list(labels)

    @abstractmethod
    def name_labels(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Put names in the place of the ids under `label`, as rows that can be read back."""

    def id_of(self, label: Any) -> int | None:
        """Find the id of a label as a file may have it, by its raw value or its name; return None for another."""
        return self.label2id.get(label) if self.space is None else self.space.id_of(label)

    def names_of(self, ids: Iterable[int]) -> list[str]:
        """Map label ids to their names."""
        return [self.labels[index] for index in ids]

    def references(self, labels: Iterable[Any]) -> np.ndarray:
        """Labels -> ids `[rows, cells]`; a row may lack its last ones."""
        return np.array([np.atleast_1d(label) for label in labels])

    def label_of(self, ids: Sequence[int]) -> Any:
        """Turn the ids of a row's cells into its label."""
        return tuple(ids)

    def count_values(self, labels: Iterable[Any]) -> Counter[str]:
        """Count how many rows say what of which cell, for the audit."""
        return Counter(
            f"{cell.name}: {cell.value_of(index)}"
            for label in labels
            for cell, index in zip(self.cells, label, strict=True)
            if index != MISSING
        )

    # Training.

    @abstractmethod
    def loss(self, options: FineTuningOptions | None = None, class_weight: Any = None, log_prior: Any = None) -> Any:
        """Compose the loss of a row, a callable with a `divergence`; without options the plain one of evaluation.

        Args:
            options: label smoothing, focal loss, logit adjustment.
            class_weight: as `class_weights` gives them, or None.
            log_prior: as `log_priors` gives them, or None.
        """

    def corrections(self, options: FineTuningOptions, labels: Sequence[Any]) -> dict[str, torch.Tensor | None]:
        """Compute the class weights and log priors that the options ask for, as `SentimentTrainer` takes them.

        Args:
            options: `class_weights`, `effective_number_beta`, `logit_adjustment`, `sampler` and `task_weights`.
            labels: of the labelled training rows.

        Returns:
            `class_weight` and `log_prior`, each `[classes]`, of several cells `[cells, classes]`, or None.

        Raises:
            InputError: see `class_weights` and `log_priors`; options that such a task does not have.
        """
        self.check_options(options)
        return {
            "class_weight": self.class_weights(labels, options.class_weights, options.effective_number_beta),
            "log_prior": self.log_priors(labels) if options.logit_adjustment > 0 else None,
        }

    def check_options(self, options: FineTuningOptions) -> None:  # noqa: B027
        """Raise InputError for options of training that such a task does not have."""

    @abstractmethod
    def class_weights(self, labels: Sequence[Any], setting: Any, beta: float) -> torch.Tensor | None:
        """Weigh classes by their training rows, see `sentiment_hf.losses.classification.class_weights`."""

    @abstractmethod
    def log_priors(self, labels: Sequence[Any]) -> torch.Tensor:
        """Take the logarithm of the classes' shares, see `sentiment_hf.losses.classification.log_prior`."""

    # Model.

    # The kind of head that such a model has: `stock`, or the name of one of our own.
    head: ClassVar[str] = "stock"

    def config_fields(self) -> dict[str, Any]:
        """Fields of the model's config, besides those of its labels."""
        return {}

    def start_head(self, model: Any, labels: Sequence[Any]) -> None:  # noqa: B027
        """Set those parameters of a new head that should start at what the training rows say."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return what a saved model records of the task, besides its name and metric."""

    # Predictions.

    @abstractmethod
    def scores(self, logits: np.ndarray, labels: Sequence[Any]) -> dict[str, Any]:
        """Score logits `[rows, all columns]` by the rows' labels; `metric` is among the scores."""

    @abstractmethod
    def predictions(
        self,
        texts: Sequence[str | None],
        logits: np.ndarray,
        top_k: int = TOP_K,
        temperature: float = 1.0,
        threshold: float | None = None,
    ) -> list[AnyPrediction]:
        """Read predictions off logits `[texts, all columns]`.

        Args:
            texts: as they were given.
            logits: of the model.
            top_k: how many labels are listed, where there is one.
            temperature: that logits are divided by.
            threshold: the probability below which no label is given.

        Raises:
            InputError: as many logits as labels are expected.
        """

    @abstractmethod
    def no_prediction(self, text: str | None, reason: str | None) -> AnyPrediction:
        """Build the prediction for a text that cannot be judged."""

    @abstractmethod
    def prediction_columns(self) -> tuple[str, ...]:
        """Name the columns that predictions fill in a table, see the method `row` of each kind."""

    def check_width(self, logits: np.ndarray) -> None:
        """Raise InputError where a model gives another number of logits than it names labels."""
        if logits.shape[1] != len(self.labels):
            found = f"{logits.shape[1]} logits for {len(self.labels)}"
            raise InputError("a model with one logit for each label of its config", found, "Fix `id2label` there.")
