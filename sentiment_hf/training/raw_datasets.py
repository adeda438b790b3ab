"""Prepare raw datasets for `SentimentTrainer`: map labels to ids and tokenize texts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.dataset import tokenize_frame
from sentiment_hf.data.labelled import map_labels
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.tasks import SingleLabelTask, Task, resolve_task
from sentiment_hf.tasks.labels import MARK_COLUMN, MISSING, NAMES, LabelSpace
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

TOKENS, LABELS = "input_ids", "labels"


@dataclass(frozen=True)
class Columns:
    """The columns of a raw dataset.

    Attributes:
        text: the texts.
        label: the labels: names, numbers or a `ClassLabel`.
    """

    text: str = "text"
    label: str = "label"


def check_dataset(dataset: Any, name: str) -> None:
    """Refuse what cannot be trained on, before anything is loaded.

    Raises:
        InputError: an iterable dataset, several splits in one, or neither text nor tokens in it.
    """
    if isinstance(dataset, datasets.IterableDataset | torch.utils.data.IterableDataset):
        remedy = "Rows are shuffled, grouped by length and resumed by their numbers: make it a Dataset, for example "
        remedy += "with Dataset.from_generator."
        raise InputError(f"a {name} with a length", type(dataset).__name__, remedy)
    if isinstance(dataset, datasets.DatasetDict):
        found = f"the splits {', '.join(map(str, dataset))}"
        raise InputError(f"one split as {name}", found, f"Give one of them: {name}=dataset['train'].")


def is_raw(dataset: Any) -> bool:
    """Tell whether a dataset of the `datasets` library still holds texts; any other one is taken as it is."""
    return isinstance(dataset, datasets.Dataset) and TOKENS not in dataset.column_names


def label_column(dataset: Any, columns: Columns) -> str | None:
    """Name the column of a `datasets.Dataset` that holds the labels; None where there is none."""
    if not isinstance(dataset, datasets.Dataset):
        return None
    return next((name for name in (columns.label, LABELS) if name in dataset.column_names), None)


def labels_of(dataset: Any, columns: Columns) -> tuple[list[Any], list[str] | None]:
    """Read the labels of a `datasets.Dataset`.

    Returns:
        The labels as they stand there, with names in the place of a `ClassLabel`'s numbers and None for -1, and these
        names in the order of their numbers; None for any other kind of column.
    """
    name = label_column(dataset, columns)
    if name is None:
        found = ", ".join(dataset.column_names) or "no column"
        remedy = "Name the column with label_column=."
        raise InputError(f"a column {columns.label!r} or {LABELS!r} in the dataset", found, remedy)
    values, feature = dataset[name][:], dataset.features[name]
    if not isinstance(feature, datasets.ClassLabel):
        return values, None
    return [feature.names[value] if value is not None and value >= 0 else None for value in values], feature.names


def task_of_dataset(dataset: Any, columns: Columns, labels: Mapping[Any, Any] | list[Any] | None) -> Task:
    """Make the task of a dataset's labels.

    Args:
        dataset: a `datasets.Dataset` with labels.
        columns: where they are.
        labels: raw value -> label name (None leaves such rows out), or label names in the order of their ids; None: the
            names of a `ClassLabel`, else the labels that occur, sorted.

    Raises:
        InputError: no labels, fewer than two, or values that are no classes.
    """
    values, names = labels_of(dataset, columns)
    if labels is None and names is not None:
        return SingleLabelTask("custom", LabelSpace(tuple(names), {name: name for name in names}))
    if labels is None and not is_raw(dataset) and label_column(dataset, columns) == LABELS:
        # Ids, whose names nobody told.
        ids = [value for value in values if isinstance(value, int)]
        return SingleLabelTask(
            "custom", LabelSpace.of_ids(tuple(f"LABEL_{index}" for index in range(max(ids, default=0) + 1)))
        )
    return resolve_task(None, labels, values, "the dataset")


def tokenized(
    dataset: Any,
    name: str,
    tokenizer: PreTrainedTokenizerBase,
    settings: TextSettings,
    task: Task,
    columns: Columns,
    to_predict: bool = False,
) -> datasets.Dataset:
    """Tokenize a raw dataset, cached on disk; rows without text or without a label are left out.

    Args:
        dataset: a `datasets.Dataset`.
        name: of it, for messages.
        tokenizer: a fast one.
        settings: how texts become tokens.
        task: knows the labels.
        columns: of the dataset.
        to_predict: keep every row, so that predictions stand beside their rows; labels come along where all rows have
            one.

    Raises:
        InputError: no text column, a text that is none, or a label that the task does not know.
    """
    if columns.text not in dataset.column_names:
        found = ", ".join(dataset.column_names) or "no column"
        remedy = f"Name the column with text_column=, or give tokenized rows with {TOKENS!r}."
        raise InputError(f"a column {columns.text!r} in {name}", found, remedy)
    texts = dataset[columns.text][:]
    wrong = next((text for text in texts if not isinstance(text, str | None)), None)
    if wrong is not None:
        raise InputError(f"texts in the column {columns.text!r} of {name}", repr(wrong)[:80], "Name another column.")
    if to_predict:
        has_labels = label_column(dataset, columns) is not None
        values, names = labels_of(dataset, columns) if has_labels else ([None] * len(texts), None)
        frame = _frame(texts, values, names)
        known = frame.head(0) if frame["label"].isna().any() else map_labels(frame, task, name)
        every = known if len(known) == len(frame) > 0 else frame.assign(label=0)
        rows = tokenize_frame(every.assign(text=every["text"].fillna("")), tokenizer, settings, name)
        return rows if every is known else rows.remove_columns([LABELS])
    frame = _frame(texts, *labels_of(dataset, columns))
    if "weight" in dataset.column_names:
        frame["weight"] = dataset["weight"][:]
    blank = frame["text"].map(is_blank)
    if blank.any():
        logger.warning("%s: %s rows without text are left out", name, f"{int(blank.sum()):,}")
    return tokenize_frame(map_labels(frame[~blank], task, name, training=True), tokenizer, settings, name)


def with_ids(dataset: Any, name: str, task: Task | None, columns: Columns, fields: Collection[str]) -> Any:
    """Take a tokenized dataset as the trainer needs it: ids under `labels`, and no column besides `fields`.

    Whole numbers under `labels` are ids already, as everywhere in transformers; what stands under another name is read
    by the task. A dataset that is not of the `datasets` library is taken as it is.

    Raises:
        InputError: ids or labels that the task does not have.
    """
    if not isinstance(dataset, datasets.Dataset):
        return dataset
    column = label_column(dataset, columns)
    if column is not None and task is not None and task.is_single_label:
        values, names = labels_of(dataset, columns)
        if column == LABELS and names is None and all(isinstance(value, int) for value in values):
            wrong = next((value for value in values if not 0 <= value < len(task.labels) and value != MISSING), None)
            if wrong is not None:
                remedy = "Give the labels as they are under `label`, or their ids, from 0."
                raise InputError(f"ids of the {len(task.labels)} labels in {name}", str(wrong), remedy)
        else:
            frame = _frame(None, values, names)
            rows = map_labels(frame, task, name, training=True)
            if len(rows) < len(frame):
                dataset = dataset.select(rows.index.tolist())
            dataset = dataset.remove_columns([column]).add_column(LABELS, rows["label"].tolist())
    unread = [name for name in dataset.column_names if name not in fields]
    return dataset.remove_columns(unread) if unread else dataset


def _frame(texts: list[str | None] | None, values: list[Any], names: list[str] | None) -> pd.DataFrame:
    """Rows with their labels as they stand there, and whether these are names."""
    frame = pd.DataFrame({"label": pd.Series(values, dtype=object), "doc_id": range(len(values))})
    if texts is not None:
        frame["text"] = pd.Series(texts, dtype=object)
    if names is not None:
        frame.attrs[MARK_COLUMN] = NAMES
    return frame


def lengths_of(dataset: Any) -> list[int] | None:
    """Count the tokens of each row, over all chunks of a document; None where only reading every row would tell."""
    if not isinstance(dataset, datasets.Dataset):
        return None
    if "length" in dataset.column_names:
        return list(dataset["length"][:])
    rows = dataset[TOKENS][:]
    return [sum(map(len, row)) if row and isinstance(row[0], list) else len(row) for row in rows]


def ids_of(dataset: Any) -> list[int]:
    """Read the label ids of a tokenized dataset of any kind, row by row where it has no columns."""
    if isinstance(dataset, datasets.Dataset):
        return list(dataset[LABELS][:])
    return [int(row[LABELS] if LABELS in row else row["label"]) for row in (dataset[i] for i in range(len(dataset)))]
