"""A run's predictions on its held-out rows, kept beside its metrics so that runs can be compared row by row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sentiment_hf.files import move_files, staging_folder
from sentiment_hf.tasks import Task

PREDICTIONS_FILE = "predictions.npz"


@dataclass(frozen=True)
class Predictions:
    """Predictions for the held-out rows, in the order of `splits/`.

    Attributes:
        logits: `[rows, width]`.
        labels: the truth as ids, `[rows]`, or `[rows, aspects]` (with a rating one column more).
    """

    logits: np.ndarray
    labels: np.ndarray


def write_predictions(folder: Path, logits: np.ndarray, labels: np.ndarray) -> None:
    """Write `predictions.npz`, whole or not at all."""
    with staging_folder(folder) as staging:
        np.savez_compressed(staging / PREDICTIONS_FILE, logits=logits.astype(np.float32), labels=labels)
        move_files(staging, folder)


def read_predictions(folder: Path) -> Predictions | None:
    """Read what `write_predictions` left in a run's folder; None where a run is older than that."""
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return Predictions(arrays["logits"], arrays["labels"])


def rows_fingerprint(rows: pd.DataFrame, task: Task) -> str:
    """Hash scored rows into a short name, by their texts and the names of their labels, in their order.

    Args:
        rows: `text`, and `label` as ids.
        task: that names the labels: two readings of one file have two names.
    """
    named = task.name_labels(rows[["text", "label"]])
    digest = hashlib.sha256()
    for cells in named.itertuples(index=False):
        digest.update("\0".join(map(str, cells)).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:16]
