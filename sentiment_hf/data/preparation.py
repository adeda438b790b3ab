"""From raw rows to the rows that a run uses: labels mapped, blanks dropped, audited, split, cleaned by protocol."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from sentiment_hf.data.audit import audit_splits, clean_training_rows, is_blank
from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.data.decontamination import OverlapIndex
from sentiment_hf.data.labelled import map_labels
from sentiment_hf.data.matching import matching_key
from sentiment_hf.data.splits import split_rows
from sentiment_hf.exceptions import InputError
from sentiment_hf.labels import AUTO
from sentiment_hf.tasks import Task

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
        raise InputError("training rows", "none left", "Check the files; `sentiment-hf audit` shows the overlap.")
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
