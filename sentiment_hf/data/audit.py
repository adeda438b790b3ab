"""Audit labelled data: duplicates, contradictions, leakage between splits, label balance and lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.data.splits import matching_key
from sentiment_hf.tasks.labels import label_text

EXCERPT_LENGTH = 40
MAX_EXCERPTS = 5


def audit_splits(
    splits: dict[str, pd.DataFrame],
    count_tokens: Callable[[list[str]], list[int]] | None = None,
    max_length: int | None = None,
    count_labels: Callable[[pd.Series], Counter[str]] | None = None,
) -> dict[str, Any]:
    """Figures about each split and about what it shares with the others.

    Args:
        splits: `train` and optionally `validation` and `test`, each with the columns `text` and `label` (raw values).
        count_tokens: texts -> number of tokens with special ones; without it token lengths are left out.
        max_length: with `count_tokens`, the share of texts that a limit of so many tokens would cut is reported.
        count_labels: the labels of a split -> name and number; each label as it stands unless told.

    Returns:
        Per split `rows`, `labels` (value -> rows), `empty_texts`, `characters` and `tokens` (quantiles),
        `repeated_rows` (rows whose text stood in an earlier row of the split), `conflicting_texts` (distinct texts with
        two labels); for validation and test `in_train` (rows) and `in_train_disagree` (of these, rows whose label no
        equal training row has); for test also `in_validation`. Under `clean`, the rows that the clean protocol trains
        on and why the others are left out. Equal is what `matching_key` says.
    """
    keys = {split: [matching_key(text) for text in frame["text"]] for split, frame in splits.items()}
    report: dict[str, Any] = {}
    train_labels = labels_by_key(keys["train"], splits["train"]["label"])
    for split, frame in splits.items():
        figures = _split_figures(frame, keys[split], count_tokens, max_length, count_labels)
        if split != "train":
            figures["in_train"] = sum(key in train_labels for key in keys[split])
            figures["in_train_disagree"] = sum(
                key in train_labels and _key(label) not in {*train_labels[key], None}
                for key, label in zip(keys[split], frame["label"], strict=True)
            )
        if split == "test" and "validation" in keys:
            validation_keys = set(keys["validation"])
            figures["in_validation"] = sum(key in validation_keys for key in keys["test"])
        report[split] = figures
    _, left_out = clean_training_rows(splits)
    report["clean"] = {"train_rows": len(splits["train"]) - sum(left_out.values()), "left_out": left_out}
    return report


def clean_training_rows(splits: dict[str, pd.DataFrame]) -> tuple[np.ndarray, dict[str, int]]:
    """Choose the training rows of the clean protocol: not in validation or test, contradicting no other and repeating
    none.

    Validation and test stay as published, so that scores keep their denominators.

    Returns:
        A mask over the training rows, and the rows left out by reason (`leaked`, `conflicting`, `repeated`; a row that
        more than one reason would leave out counts under the first).
    """
    train = splits["train"]
    keys = [matching_key(text) for text in train["text"]]
    labels = labels_by_key(keys, train["label"])
    held_out = {matching_key(text) for split, frame in splits.items() if split != "train" for text in frame["text"]}
    left_out = {"leaked": 0, "conflicting": 0, "repeated": 0}
    seen: set[str] = set()
    mask = np.zeros(len(train), dtype=bool)
    for row, key in enumerate(keys):
        if key in held_out:
            left_out["leaked"] += 1
        elif len(labels[key]) > 1:
            left_out["conflicting"] += 1
        elif key in seen:
            left_out["repeated"] += 1
        else:
            seen.add(key)
            mask[row] = True
    return mask, left_out


def labels_by_key(keys: Iterable[str], labels: Iterable[Any]) -> dict[str, set[str]]:
    """All labels that each text carries somewhere."""
    by_key: dict[str, set[str]] = {}
    for key, label in zip(keys, labels, strict=True):
        carried = by_key.setdefault(key, set())
        # A row without a label contradicts none.
        carried.update(text for text in (_key(label),) if text is not None)
    return by_key


def is_blank(text: Any) -> bool:
    """Whether there is no text at all: missing (None, NaN), or white space only."""
    return not isinstance(text, str) or not text.strip()


def _split_figures(
    frame: pd.DataFrame,
    keys: list[str],
    count_tokens: Callable[[list[str]], list[int]] | None,
    max_length: int | None,
    count_labels: Callable[[pd.Series], Counter[str]] | None,
) -> dict[str, Any]:
    texts = ["" if is_blank(text) else text for text in frame["text"]]
    labels = count_labels(frame["label"]) if count_labels else _count_texts(frame["label"])
    conflicts = [key for key, values in labels_by_key(keys, frame["label"]).items() if len(values) > 1]
    figures: dict[str, Any] = {
        "rows": len(frame),
        "labels": dict(sorted(labels.items())),
        "unlabelled_rows": sum(label_text(label) is None for label in frame["label"]) if count_labels is None else 0,
        "empty_texts": sum(is_blank(text) for text in texts),
        "repeated_rows": len(keys) - len(set(keys)),
        "conflicting_texts": len(conflicts),
        "conflicting_examples": [key[:EXCERPT_LENGTH] for key in conflicts[:MAX_EXCERPTS]],
        "characters": _quantiles([len(text) for text in texts]),
    }
    if count_tokens is not None:
        figures |= token_figures(count_tokens(texts), max_length)
    return figures


def _key(label: Any) -> str | None:
    """Convert a row's label to text; that of aspects is a tuple of ids."""
    return str(label) if isinstance(label, tuple) else label_text(label)


def _count_texts(labels: pd.Series) -> Counter[str]:
    return Counter(text for text in map(label_text, labels) if text is not None)


def token_figures(lengths: list[int], max_length: int | None) -> dict[str, Any]:
    """Quantiles of lengths in tokens and, with a limit, the share of texts that it cuts."""
    figures: dict[str, Any] = {"tokens": _quantiles(lengths)}
    if max_length is not None:
        figures["max_length"] = max_length
        figures["cut_by_max_length"] = sum(length > max_length for length in lengths) / len(lengths)
    return figures


def _quantiles(lengths: list[int]) -> dict[str, float]:
    values = np.asarray(lengths)
    return {
        "median": float(np.median(values)),
        "mean": round(float(values.mean()), 1),
        "p95": float(np.quantile(values, 0.95, method="nearest")),
        "max": float(values.max()),
    }
