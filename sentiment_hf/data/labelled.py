"""Labelled rows of any task: read, mapped to ids, counted, and named again when they are saved."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from sentiment_hf.aspects import MISSING, RAW_VALUES, VALUES, AspectTask
from sentiment_hf.data.columns import RATING_COLUMNS, AspectColumns, Columns
from sentiment_hf.data.sources import load_file
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.exceptions import InputError
from sentiment_hf.tasks import Task

AnyTask = Task | AspectTask
_RAW_BY_ID = {index: raw for raw, index in RAW_VALUES.items()}


@dataclass(frozen=True)
class ReadOptions:
    """How a labelled file is read, as a command line says.

    Attributes:
        text_column: the column with the text; None: the first with a usual name.
        label_column: the column with the label, likewise.
        form: encoding, separator and names of columns of the file.
    """

    text_column: str | None = None
    label_column: str | None = None
    form: TableFormat = field(default_factory=TableFormat)

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Self:
        """Take the options of `add_column_options`."""
        return cls(args.text_column, args.label_column, TableFormat.from_args(args))


def columns_of(
    task: AnyTask | None, text: str | None = None, label: str | None = None, rating_required: bool = True
) -> Columns:
    """The columns that a task's rows come in; None for a task that is yet to be read off its labels."""
    if isinstance(task, AspectTask):
        return AspectColumns(text, label, True, task, rating_required)
    return Columns(text, label)


def load_labelled(path: str | Path, task: AnyTask, options: ReadOptions | None = None) -> pd.DataFrame:
    """Rows of a file with labels as ids.

    Raises:
        InputError: see `load_file` and `map_labels`.
    """
    options = options or ReadOptions()
    columns = columns_of(task, options.text_column, options.label_column, rating_required=False)
    return map_labels(load_file(path, columns, options.form), task, str(path))


def map_labels(frame: pd.DataFrame, task: AnyTask, name: str) -> pd.DataFrame:
    """Raw labels -> ids; those of aspects are ids from the moment they are read.

    Raises:
        InputError: a label that the task does not know, with its row (counted from 1, header aside) and file.
    """
    if isinstance(task, AspectTask):
        return frame
    ids = [task.label_id(label) for label in frame["label"]]
    for row, (label, label_id) in enumerate(zip(frame["label"], ids, strict=True), start=1):
        if label_id is None:
            remedy = "Add it to `labels:` in the recipe, or mend the row."
            raise InputError(f"a label among {task.describe_labels()}", f"{label!r} in row {row} of {name}", remedy)
    return frame.assign(label=ids)


def named_labels(frame: pd.DataFrame, task: AnyTask) -> pd.DataFrame:
    """Rows with ids as rows that `load_labelled` reads back."""
    if not isinstance(task, AspectTask):
        return frame.assign(label=[task.labels[index] for index in frame["label"]])
    cells = pd.DataFrame(frame["label"].tolist(), index=frame.index)
    named = {aspect: cells[place].map(_RAW_BY_ID.get) for place, aspect in enumerate(task.aspects)}
    if task.has_rating:
        stars = cells[len(task.aspects)]
        named[task.rating_column or RATING_COLUMNS[0]] = stars.where(stars != MISSING)
    return pd.concat([frame.drop(columns="label"), pd.DataFrame(named, dtype=object)], axis=1)


def count_cells(labels: pd.Series, task: AspectTask) -> Counter[str]:
    """How many rows say what of which aspect, for the audit."""
    names = [*task.aspects, *(["stars"] if task.has_rating else [])]
    return Counter(
        f"{name}: {value if name == 'stars' else VALUES[value]}"
        for label in labels
        for name, value in zip(names, label, strict=True)
        if value != MISSING
    )


def strata(labels: pd.Series, task: AnyTask) -> list[Any]:
    """What a split made here keeps the shares of: the label, or for aspects the stars where there are any."""
    if not isinstance(task, AspectTask):
        return list(labels)
    return [label[-1] if task.has_rating else 0 for label in labels]
