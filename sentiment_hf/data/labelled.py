"""Labelled rows of any task: read, map labels to ids, count them, and turn ids back into names."""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from sentiment_hf.config.values import parse_labels
from sentiment_hf.data.columns import CellColumns, Columns
from sentiment_hf.data.sources import load_file
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.tasks import Task
from sentiment_hf.tasks.labels import AUTO, MARK_COLUMN, NAMES, LabelReading
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

# Labels that are counted up one by one; sets with a hundred classes have them in audit.json.
_SHOWN = 30


@dataclass(frozen=True)
class ReadOptions:
    """How a labelled file is read, as a command line says.

    Attributes:
        text_column: the column with the text; None: the first with a usual name.
        label_column: the column with the label, likewise.
        form: encoding, separator and names of columns of the file.
        labels: raw value -> label name, or None for rows that are left out; None: what the model was saved with.
        label_values: `raw`, `names` or `auto`, see `LabelSpace.read`.
    """

    text_column: str | None = None
    label_column: str | None = None
    form: TableFormat = field(default_factory=TableFormat)
    labels: Any = None
    label_values: str = AUTO

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Self:
        """Take the options of `add_column_options`."""
        labels = parse_labels(args.labels, (dict,))
        return cls(args.text_column, args.label_column, TableFormat.from_args(args), labels, args.label_values)


def task_with_rows(task: Task) -> Task:
    """Return the task if labelled rows of it can be read.

    Raises:
        InputError: one of scores, whose labels are not read yet.
    """
    if task.has_labelled_rows:
        return task
    remedy = "`predict` and `serve` return its scores; what learns from labelled rows or is scored on them needs "
    remedy += "one label a text."
    raise InputError("a model that chooses one label", f"one of {task.name}", remedy)


def task_of_one_label(task: Task, remedy: str) -> Task:
    """Return the task if each text has one label.

    Raises:
        InputError: another one; `remedy` says what to do with one of several labels.
    """
    known = task_with_rows(task)
    if not known.is_single_label:
        raise InputError("a model of one label", f"one of {known.kind}", remedy)
    return known


def columns_of(
    task: Task | None, text: str | None = None, label: str | None = None, all_required: bool = True
) -> Columns:
    """Choose the columns that a task's rows come in; `task` is None where it is yet to be read off the labels."""
    if task is not None and task.label_columns():
        return CellColumns(text, label, True, task, all_required)
    return Columns(text, label)


def load_labelled(path: str | Path, task: Task, options: ReadOptions | None = None) -> pd.DataFrame:
    """Load the rows of a file that have a label, with labels as ids; `doc_id` is a row's place in the file.

    Raises:
        InputError: see `load_file` and `map_labels`.
    """
    options = options or ReadOptions()
    columns = columns_of(task, options.text_column, options.label_column, all_required=False)
    frame = load_file(path, columns, options.form)
    return map_labels(frame, task, str(path), options.labels, options.label_values)


def map_labels(
    frame: pd.DataFrame,
    task: Task,
    name: str,
    labels: Any = None,
    label_values: str = AUTO,
    training: bool = False,
) -> pd.DataFrame:
    """Replace labels by ids and drop the rows without one; labels of several cells are ids from the moment that they
    are read.

    Args:
        frame: with raw labels, all of one file.
        task: knows the labels.
        name: of the file, for messages.
        labels: see `ReadOptions`, likewise `label_values`.
        training: see `LabelSpace.read`.

    Returns:
        The rows; `attrs["labels"]` says how they were read, for records.

    Raises:
        InputError: see `LabelSpace.read`; or no row has a label.
    """
    if task.space is None:
        if labels is not None or label_values != AUTO:
            remedy = f"Name the columns with `aspects:`, whose cells are {task.label_columns()[0].expected}."
            raise InputError(f"no labels and no label_values for {task.kind}", str(labels or label_values), remedy)
        return frame
    space = task.space if labels is None else task.space.with_raw(labels)
    wanted = label_values if label_values != AUTO else frame.attrs.get(MARK_COLUMN, AUTO)
    reading = space.read(frame["label"], wanted, name, training)
    _say(reading, name, training)
    labelled = [index is not None for index in reading.ids]
    rows = frame[labelled].assign(label=[index for index in reading.ids if index is not None])
    if rows.empty:
        raise InputError(f"labels in {name}", f"none in {len(frame):,} rows", "Check the label column.")
    rows.attrs["labels"] = reading.record()
    return rows


def _say(reading: LabelReading, name: str, training: bool) -> None:
    """Say what a file's labels were taken for: before a training in full, else where that is not plain."""
    if not reading.same:
        logger.info("%s: labels read as %s", name, "names" if reading.read_as == NAMES else "raw values")
    if reading.unlabelled:
        logger.warning("%s: %s rows have no label and are left out", name, f"{reading.unlabelled:,}")
    if reading.left_out:
        logger.info("%s: %s rows are left out, as `labels:` says", name, f"{reading.left_out:,}")
    shown = {pair: count for pair, count in reading.counts.items() if training or pair[0] != pair[1]}
    for (value, label), count in list(shown.items())[:_SHOWN]:
        meaning = value if label == value else f"{value} -> {label or 'left out'}"
        logger.info("%s: %s: %s rows", name, meaning, f"{count:,}")
    if len(shown) > _SHOWN:
        logger.info("%s: and %d labels more", name, len(shown) - _SHOWN)
