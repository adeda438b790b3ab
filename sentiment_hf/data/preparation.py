"""From raw rows to the rows that a run uses: labels mapped, blanks dropped, audited, split, cleaned by protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from sentiment_hf.data.audit import audit_splits, clean_training_rows, is_blank
from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.data.held_out import HeldOutTexts
from sentiment_hf.data.matching import matching_key
from sentiment_hf.data.splits import split_rows
from sentiment_hf.exceptions import InputError
from sentiment_hf.tasks import Task, resolve_task

logger = logging.getLogger(__name__)

PROTOCOLS = ("clean", "published")


@dataclass
class PreparedData:
    """Rows of a run.

    Attributes:
        splits: `train`, `dev` and, where there is one, `test`, each with `doc_id`, `text` and integer `label`.
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
    task_name: str | None,
    labels: Mapping[Any, str] | list[str] | None,
    protocol: str = "clean",
    split_method: str = "stratified",
    validation_share: float = 0.1,
    test_share: float = 0.1,
    split_seed: int = 42,
    cleaning: Cleaning | None = None,
    held_out: HeldOutTexts | None = None,
) -> PreparedData:
    """Map labels, drop blank texts, audit, leave rows out by protocol, and make the splits that are missing.

    A missing dev split is always taken from the training rows; a test split only where dev is missing too. Rows are
    left out before the split, so a held-out part that is made here has no repeats under the clean protocol.

    Args:
        splits: by name, with `text` and raw `label`.
        task_name: see `resolve_task`.
        labels: see `resolve_task`.
        protocol: `clean` or `published`.
        split_method: see `split_rows`, like the shares and the seed, which count where splits are made.
        validation_share: of dev.
        test_share: of test.
        split_seed: of both.
        cleaning: training rows that it empties are left out.
        held_out: training rows that repeat one of these texts are left out, whatever the protocol.

    Raises:
        InputError: an unknown protocol, an unknown label (with its row), one class only in training, no rows left.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol {' | '.join(PROTOCOLS)}", repr(protocol), "Use one of these names.")
    task = resolve_task(task_name, labels, splits["train"]["label"])
    mapped = {split: map_labels(frame, task, split) for split, frame in splits.items()}
    left_out = {"blank": 0}
    for split, frame in mapped.items():
        blank = frame["text"].map(is_blank)
        if split == "train" and cleaning is not None:
            # Held-out rows that cleaning empties stay, so that scores keep their denominators.
            blank = frame["text"].map(partial(_is_empty, cleaning=cleaning))
        if blank.any():
            logger.warning("%d rows of the %s split have no text and are left out", blank.sum(), split)
        if blank.all():
            raise InputError(f"texts in the {split} split", "only blank ones", "Check the text column.")
        if split == "train":
            left_out["blank"] = int(blank.sum())
        mapped[split] = frame[~blank]
    audit = audit_splits(splits)
    if held_out is not None:
        train = mapped["train"]
        repeats = train["text"].map(lambda text: held_out.match(matching_key(text)) is not None)
        left_out["held_out"] = int(repeats.sum())
        mapped["train"] = train[~repeats]
    if protocol == "clean":
        mask, removed = clean_training_rows(mapped)
        mapped["train"] = mapped["train"][mask]
        left_out |= removed
    made: tuple[str, ...] = ()
    if "dev" not in mapped:
        shares = {"dev": validation_share} if "test" in mapped else {"test": test_share, "dev": validation_share}
        made = tuple(shares)
        mapped |= split_rows(mapped["train"], shares, split_seed, split_method)
    check_classes(mapped["train"], task)
    ordered: dict[str, pd.DataFrame] = {
        split: mapped[split].reset_index(drop=True) for split in ("train", "dev", "test") if split in mapped
    }
    return PreparedData(ordered, task, audit, left_out, made)


def map_labels(frame: pd.DataFrame, task: Task, name: str) -> pd.DataFrame:
    """Raw labels -> ids.

    Raises:
        InputError: a label that the task does not know, with its row (counted from 1, header aside) and file.
    """
    ids = [task.label_id(label) for label in frame["label"]]
    for row, (label, label_id) in enumerate(zip(frame["label"], ids, strict=True), start=1):
        if label_id is None:
            remedy = "Add it to `labels:` in the recipe, or mend the row."
            raise InputError(f"a label among {task.describe_labels()}", f"{label!r} in row {row} of {name}", remedy)
    return frame.assign(label=ids)


def check_classes(train: pd.DataFrame, task: Task) -> None:
    """Raises InputError where the training rows hold no rows or one class only; warns of classes without rows."""
    if train.empty:
        raise InputError("training rows", "none left", "Check the files; `sentiment-hf audit` shows the overlap.")
    present = sorted(train["label"].unique())
    if len(present) < 2:
        found = f"only {task.labels[present[0]]!r} in {len(train)} rows"
        raise InputError("at least two classes in training", found, "Add rows of the other class.")
    missing = [label for index, label in enumerate(task.labels) if index not in present]
    if missing:
        logger.warning("no training rows for %s: the model cannot learn to predict it", ", ".join(missing))


def _is_empty(text: Any, cleaning: Cleaning) -> bool:
    return is_blank(text) or not clean(text, cleaning)
