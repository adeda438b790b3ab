"""Error analysis of a classifier: confusions, slices of the data, and examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import emoji
import numpy as np
import pandas as pd

MIN_SLICE_ROWS = 20
LENGTH_BINS = 4

# What a text has, by marks that a reader would go by. They are rules of thumb: 不 stands in 不错 as well.
MARKS: dict[str, Callable[[str], bool]] = {
    "negation": lambda text: bool(re.search(r"[不没无未别]|并非|毫不", text)),
    "contrast": lambda text: bool(re.search(r"但|不过|可是|然而|却|虽然|尽管", text)),
    "question": lambda text: bool(re.search(r"[?？]|吗|呢", text)),
    "exclamation": lambda text: bool(re.search(r"[!！]", text)),
    "emoji": lambda text: emoji.emoji_count(text) > 0 or bool(re.search(r"\[[\u4e00-\u9fff]{1,4}\]", text)),
}


def predictions_frame(rows: pd.DataFrame, probabilities: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """Rows with their predictions: `truth`, `prediction`, `confidence`, `probability_of_truth` and `right`.

    Args:
        rows: with `text` and `label` as ids; other columns are kept.
        probabilities: `[rows, classes]`.
        labels: names in the order of the ids.
    """
    truth, prediction = rows["label"].to_numpy(dtype=int), probabilities.argmax(axis=1)
    return rows.drop(columns="label").assign(
        truth=[labels[index] for index in truth],
        prediction=[labels[index] for index in prediction],
        confidence=probabilities.max(axis=1),
        probability_of_truth=probabilities[np.arange(len(rows)), truth],
        right=truth == prediction,
    )


def confusion(frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Count each pair of truth (rows) and prediction (columns), both in the order of `labels`."""
    table = pd.crosstab(frame["truth"], frame["prediction"])
    return table.reindex(index=list(labels), columns=list(labels), fill_value=0)


def top_confusions(frame: pd.DataFrame, count: int, examples: int, seed: int = 42) -> list[dict[str, Any]]:
    """Find the most frequent mistakes, as pairs of truth and prediction.

    Returns:
        For each `truth`, `prediction`, `rows`, `share_of_truth`, and a seeded sample of `examples`.
    """
    wrong = frame[~frame["right"]]
    totals = frame["truth"].value_counts()
    pairs = []
    for (truth, prediction), rows in wrong.groupby(["truth", "prediction"]):
        sample = rows.sample(min(examples, len(rows)), random_state=seed)
        pair = {
            "truth": truth,
            "prediction": prediction,
            "rows": len(rows),
            "share_of_truth": len(rows) / int(totals[truth]),
        }
        pairs.append(pair | {"examples": sample["text"].tolist()})
    return sorted(pairs, key=lambda pair: -pair["rows"])[:count]


def surest_mistakes(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """Mistakes by how sure the model was, the surest first; noise in the labels gathers here as well."""
    return frame[~frame["right"]].sort_values("confidence", ascending=False, kind="stable").head(count)


def slices(frame: pd.DataFrame, category: str | None = None) -> list[dict[str, Any]]:
    """Accuracy in parts of the rows: by length, by what the text has, and by a column.

    Args:
        frame: from `predictions_frame`.
        category: a column whose values are slices too.

    Returns:
        For each slice `by`, `slice`, `rows`, `accuracy` and `difference` from all rows, the worst first; slices of
        fewer than `MIN_SLICE_ROWS` rows are listed last, since chance alone moves them.
    """
    overall = frame["right"].mean()
    parts: list[tuple[str, str, pd.Series]] = []
    lengths = frame["text"].str.len()
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, LENGTH_BINS + 1)))
    for low, high in pairwise(edges):
        inside = (lengths > low) & (lengths <= high) if low > edges[0] else lengths <= high
        parts.append(("characters", f"{int(low) + (low > edges[0])} to {int(high)}", inside))
    for name, has in MARKS.items():
        marked = frame["text"].map(has)
        parts += [(name, "with", marked), (name, "without", ~marked)]
    if category is not None:
        parts += [
            (category, str(value), frame[category] == value) for value in sorted(frame[category].unique(), key=str)
        ]
    found = []
    for by, name, inside in parts:
        if inside.any():
            accuracy = float(frame.loc[inside, "right"].mean())
            figures = {"rows": int(inside.sum()), "accuracy": accuracy, "difference": float(accuracy - overall)}
            found.append({"by": by, "slice": name, **figures})
    return sorted(found, key=lambda part: (part["rows"] < MIN_SLICE_ROWS, part["accuracy"]))
