"""Find the text and label columns of a table."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sentiment_hf.config.values import LABEL_VALUES
from sentiment_hf.tasks import LabelColumn, Task
from sentiment_hf.tasks.aspects import RATING_COLUMNS
from sentiment_hf.tasks.labels import MARK_COLUMN, MISSING, NAMES
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

# Usual names, the likeliest first; compared without case, white space, hyphens and underscores.
TEXT_COLUMNS = (
    *("text", "text_a", "review", "reviewbody", "review_text", "review_content", "sentence", "sentence1", "content"),
    *("document", "comment", "comments", "body", "文本", "评论", "评论内容", "评价内容", "评价", "内容", "正文"),
    *("文本内容", "微博内容", "微博正文", "微博中文内容", "留言", "留言内容", "反馈", "反馈内容", "新闻内容", "句子"),
    *("query", "title", "标题", "headline", "review_title", "text_b", "sentence2"),
)
LABEL_COLUMNS = (
    *("label", "labels", "sentiment", "category", "target", "标签", "类别", "情感", "class", "polarity", "情感倾向"),
    *("情感极性", "情感标签", "情绪", "分类", "label_name", "label_desc"),
    *RATING_COLUMNS,
)
# What `predict` calls the column of its labels, with a number where the file had one of that name already.
PREDICTED_COLUMN = re.compile(r"predicted_label(?:_\d+)?")
# As many usual names as an error lists.
_NAMED = 8
_IGNORED = re.compile(r"[\s_\-\ufeff]+")
# What files of this package's own have besides text and label.
_OWN_COLUMNS = ("doc_id", MARK_COLUMN)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_SENTENCE = re.compile(r"[，。！？；,!?;]|[\u4e00-\u9fff]{9}")


@dataclass(frozen=True)
class Columns:
    """Where a table with one label a row has its text and its label.

    Attributes:
        text: the column with the text; None: the first with a usual name.
        label: the column with the label; None: the first with a usual name.
        labelled: False for texts alone.
    """

    text: str | None = None
    label: str | None = None
    labelled: bool = True

    def select(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        """`doc_id` (the row's place, counted from 0), `text` (None where missing) and, if asked for, the raw `label`.

        Raises:
            InputError: no such column.
        """
        text = pick_column(frame, self.text, TEXT_COLUMNS, "text", name)
        selected = _texts(frame, text)
        if self.labelled:
            column = pick_column(frame, self.label, LABEL_COLUMNS, "label", name)
            selected["label"] = pd.Series(frame[column].tolist(), dtype=object)
            _check_documents(frame, selected["label"], name)
            _mark(selected, frame, column, name)
            _say_columns(frame, text, column, name)
        return selected


@dataclass(frozen=True)
class CellColumns(Columns):
    """Where a table has its text and the parts of a label that has several.

    Attributes:
        task: knows the columns.
        all_required: False where rows may lack what is only learned from, as when a file is evaluated on.
    """

    task: Task | None = None
    all_required: bool = True

    def select(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        """`doc_id`, `text` and `label`, a tuple of ids as the task describes it.

        Raises:
            InputError: no such column, or a cell without a meaning, with its row (counted from 1, header aside) and
                column.
        """
        assert self.task is not None
        # AI Challenger's rows hold one mapping with all aspects.
        usual: tuple[str, ...] = LABEL_COLUMNS if self.label is None else (self.label,)
        nested = next((column for column in usual if _holds_mappings(frame, column)), None)
        if nested is None and self.label is not None:
            remedy = "Leave label_column out where each aspect has a column of its own; `aspects` names them."
            raise InputError(f"a column {self.label!r} with a mapping of aspects in {name}", "none", remedy)
        if nested is not None:
            frame = frame.drop(columns=nested).join(pd.DataFrame(frame[nested].tolist(), index=frame.index))
        selected = _texts(frame, pick_column(frame, self.text, TEXT_COLUMNS, "text", name))
        cells = [self._cells(frame, column, name) for column in self.task.label_columns()]
        selected["label"] = list(zip(*cells, strict=True))
        _check_documents(frame, selected["label"], name)
        return selected

    def _cells(self, frame: pd.DataFrame, column: LabelColumn, name: str) -> list[int]:
        if not (self.all_required or column.required):
            keys = {column_key(each) for each in frame.columns}
            usual = column.usual if column.wanted is None else (column.wanted,)
            if not keys & {column_key(each) for each in usual}:
                return [MISSING] * len(frame)
        if column.required:
            found = pick_column(frame, None, column.usual, f"{column.title!r}", name, option="aspects")
        else:
            found = pick_column(frame, column.wanted, column.usual, column.title, name)
        return _parsed(frame[found], column.parse, column.expected, found, name)


def _check_documents(frame: pd.DataFrame, labels: pd.Series, name: str) -> None:
    """Raise InputError where a file's own `doc_id` says that one document has two labels."""
    if "doc_id" not in frame.columns:
        return
    first: dict[Any, tuple[int, str]] = {}
    for row, (document, label) in enumerate(zip(frame["doc_id"], labels, strict=True), start=1):
        before, earlier = first.setdefault(document, (row, str(label)))
        if earlier != str(label):
            found = f"{earlier!r} in row {before} and {label!r} in row {row} for doc_id {document}"
            raise InputError(f"one label for each doc_id in {name}", found, "Fix the rows, or drop the column.")


def _say_columns(frame: pd.DataFrame, text: str, label: str, name: str) -> None:
    """Say which columns are read and which are not, but for files of this package's own shape."""
    others = [str(column) for column in frame.columns if column not in (text, label, *_OWN_COLUMNS)]
    if others or {text, label} != {"text", "label"}:
        unread = f"; not read: {', '.join(others)}" if others else ""
        logger.info("%s: text from %r, labels from %r%s", name, text, label, unread)


def _mark(selected: pd.DataFrame, frame: pd.DataFrame, column: str, name: str) -> None:
    """Take over what a file that this package wrote says of its labels: that they are names.

    Raises:
        InputError: some rows say so and others do not, as in a file made of two.
    """
    if PREDICTED_COLUMN.fullmatch(column):
        selected.attrs[MARK_COLUMN] = NAMES
    elif MARK_COLUMN in frame.columns:
        marks = {as_text(value) or "" for value in frame[MARK_COLUMN]}
        if marks - set(LABEL_VALUES) or len(marks) > 1:
            found = ", ".join(repr(mark) for mark in sorted(marks))
            remedy = "Such files were put together: read each by itself, or drop the column and give --label_values."
            raise InputError(f"one of raw and names in the column {MARK_COLUMN} of {name}", found, remedy)
        selected.attrs[MARK_COLUMN] = marks.pop()


def _holds_mappings(frame: pd.DataFrame, column: str) -> bool:
    return column in frame.columns and len(frame) > 0 and isinstance(frame[column].iloc[0], Mapping)


def _texts(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    text = frame[column].astype(object)
    return pd.DataFrame({"doc_id": range(len(frame)), "text": [as_text(value) for value in text]}, dtype=object)


def _parsed(cells: pd.Series, parse: Callable[[Any], int | None], expected: str, column: str, name: str) -> list[int]:
    values = []
    for row, raw in enumerate(cells, start=1):
        value = parse(raw)
        if value is None:
            raise InputError(f"{expected} in column {column} of {name}", f"{raw!r} in row {row}", "Fix the row.")
        values.append(value)
    return values


def pick_column(
    frame: pd.DataFrame, wanted: str | None, usual: tuple[str, ...], what: str, name: str, option: str = ""
) -> str:
    """Find the column that holds `what` ("text", "label"): the one asked for, else the first with a usual name.

    Names are compared without case, white space, hyphens and underscores; of several candidates, the one that was taken
    is said.

    Raises:
        InputError: there is none; the message names the columns found.
    """
    option = option or f"{what}_column"
    alike: dict[str, list[str]] = {}
    for column in frame.columns:
        alike.setdefault(column_key(column), []).append(column)
    if wanted is None:
        found = [column for key in dict.fromkeys(map(column_key, usual)) for column in alike.get(key, ())]
        if len(found) > 1:
            others = ", ".join(repr(column) for column in found[1:])
            said = "%s: the %s is read from the column %r and not from %s; --%s names another"
            logger.warning(said, name, what, found[0], others, option)
        if found:
            return found[0]
    elif wanted in frame.columns:
        return wanted
    elif len(alike.get(column_key(wanted), ())) == 1:
        return alike[column_key(wanted)][0]
    expected = (
        f"a {what} column {wanted!r}"
        if wanted
        else f"a {what} column ({', '.join(usual[:_NAMED])}{', …' if len(usual) > _NAMED else ''})"
    )
    columns = ", ".join(str(column) for column in frame.columns)
    remedy = f"Name it with `{option}:` in the recipe or --{option}."
    if any(_looks_like_a_cell(column) for column in frame.columns):
        remedy = "If the first line is a row and no header, name the columns: --column_names text,label, one for each."
    raise InputError(f"{expected} in {name}", f"the columns {columns}", remedy)


def column_key(name: Any) -> str:
    """Reduce a column's name to what names are compared by."""
    return _IGNORED.sub("", unicodedata.normalize("NFKC", str(name)).casefold())


def _looks_like_a_cell(name: Any) -> bool:
    text = str(name).strip()
    return _NUMBER.fullmatch(text) is not None or _SENTENCE.search(text) is not None


def as_text(value: Any) -> str | None:
    """Convert a cell to text; None for a missing one (None, NaN, pandas' NA and NaT)."""
    if isinstance(value, str):
        return value
    is_nan = isinstance(value, float) and math.isnan(value)
    return None if is_nan or any(value is missing for missing in (None, pd.NA, pd.NaT)) else str(value)
