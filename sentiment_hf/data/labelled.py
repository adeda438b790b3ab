"""Labelled rows of any task: read, mapped to ids, counted, and named again when they are saved."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from sentiment_hf.aspects import MISSING, RAW_VALUES, VALUES, AspectTask
from sentiment_hf.data.columns import RATING_COLUMNS, AspectColumns, Columns
from sentiment_hf.data.sources import load_file
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.exceptions import InputError
from sentiment_hf.labels import AUTO, MARK_COLUMN, NAMES, LabelReading
from sentiment_hf.option_values import parse_labels
from sentiment_hf.score_task import ScoreTask
from sentiment_hf.tasks import Task

logger = logging.getLogger(__name__)

AnyTask = Task | AspectTask
# Labels that are counted up one by one; sets with a hundred classes have them in audit.json.
_SHOWN = 30
# What may predict; one of scores has no labelled rows here.
PredictedTask = AnyTask | ScoreTask
_RAW_BY_ID = {index: raw for raw, index in RAW_VALUES.items()}


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


def task_with_rows(task: PredictedTask) -> AnyTask:
    """The task, if labelled rows of it can be read.

    Raises:
        InputError: one of scores, whose labels are not read yet.
    """
    if not isinstance(task, ScoreTask):
        return task
    remedy = "`predict` and `serve` answer with its scores; what learns from labelled rows or is scored on them needs "
    remedy += "one label a text."
    raise InputError("a model that chooses one label", f"one of {task.name}", remedy)


def task_of_one_label(task: PredictedTask, remedy: str) -> Task:
    """The task, if each text has one label.

    Raises:
        InputError: another one; `remedy` says what to do with one of aspects.
    """
    known = task_with_rows(task)
    if isinstance(known, AspectTask):
        raise InputError("a model of one label", "one of aspects", remedy)
    return known


def columns_of(
    task: AnyTask | None, text: str | None = None, label: str | None = None, rating_required: bool = True
) -> Columns:
    """The columns that a task's rows come in; None for a task that is yet to be read off its labels."""
    if isinstance(task, AspectTask):
        return AspectColumns(text, label, True, task, rating_required)
    return Columns(text, label)


def load_labelled(path: str | Path, task: AnyTask, options: ReadOptions | None = None) -> pd.DataFrame:
    """Load the rows of a file that have a label, with labels as ids; `doc_id` is a row's place in the file.

    Raises:
        InputError: see `load_file` and `map_labels`.
    """
    options = options or ReadOptions()
    columns = columns_of(task, options.text_column, options.label_column, rating_required=False)
    frame = load_file(path, columns, options.form)
    return map_labels(frame, task, str(path), options.labels, options.label_values)


def map_labels(
    frame: pd.DataFrame,
    task: AnyTask,
    name: str,
    labels: Any = None,
    label_values: str = AUTO,
    training: bool = False,
) -> pd.DataFrame:
    """Replace labels by ids and drop the rows without one; labels of aspects are ids from the moment they are read.

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
    if isinstance(task, AspectTask):
        if labels is not None or label_values != AUTO:
            remedy = "Cells hold 1, 0, -1 and -2; name the columns with `aspects:`."
            raise InputError("no labels and no label_values for aspects", str(labels or label_values), remedy)
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


def name_labels(ids: Iterable[int], task: Task) -> list[str]:
    """The names of label ids."""
    return [task.labels[index] for index in ids]


def named_labels(frame: pd.DataFrame, task: AnyTask) -> pd.DataFrame:
    """Name the labels of rows with ids, as rows that `load_labelled` reads back: they say that they hold names."""
    if not isinstance(task, AspectTask):
        return frame.assign(label=name_labels(frame["label"], task), **{MARK_COLUMN: NAMES})
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
