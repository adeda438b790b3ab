"""Confident learning: label errors, found by models that did not learn from the row.

Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", through cleanlab.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.data.matching import matching_key
from sentiment_hf.enrich.folds import Learner, out_of_fold
from sentiment_hf.evaluation.calibration import fit_temperature
from sentiment_hf.exceptions import MissingExtraError
from sentiment_hf.labels import MISSING
from sentiment_hf.tasks import Cell, Task, softmax

STAR_DISTANCE = 1.5
COLUMNS = ["row", "cell", "given", "proposed", "p_given", "p_proposed", "score", "suspect", "two_labels", "reason"]


@dataclass(frozen=True)
class JudgedCell:
    """A cell of every row, and what a model that did not learn from the row predicts for it.

    Attributes:
        cell: which it is.
        given: `[rows]`, ids, `MISSING` where nothing is said.
        probabilities: `[rows, labels]` out of fold; None on a scale.
        expected: `[rows]`, the expected step; None but on a scale.
    """

    cell: Cell
    given: np.ndarray
    probabilities: np.ndarray | None = None
    expected: np.ndarray | None = None


def find_suspects(
    frame: pd.DataFrame,
    task: Task,
    folds: np.ndarray,
    learner: Learner,
    rounds: int = 1,
    star_distance: float = STAR_DISTANCE,
) -> pd.DataFrame:
    """All labels of the rows, the most suspicious first.

    Args:
        frame: rows with `text` and `label` (ids).
        task: of the labels.
        folds: see `assign_folds`.
        learner: judges rows by the others.
        rounds: from the second one on, what the round before suspected is not learned from.
        star_distance: a rating is suspect from so many stars between it and the expected one.

    Returns:
        `row` (place in the frame), `cell` (aspect, `stars` or ""), `given`, `proposed` (names), `p_given`,
        `p_proposed` (of stars: None), `score` (from 0, surely wrong, to 1), `suspect`, `two_labels` and `reason`. Rows
        whose text stands elsewhere with another label have `two_labels` and are suspect whatever their score.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    keys = [matching_key(text) for text in frame["text"]]
    learn_from = np.ones(len(frame), dtype=bool)
    for _ in range(max(rounds, 1)):
        logits = out_of_fold(frame, folds, learner, learn_from)
        tables = [rank_cell(cell, keys, star_distance) for cell in cells_of(frame, task, logits)]
        # An aspect that no row says anything about has no table.
        ranked = pd.concat([table for table in tables if len(table)])
        learn_from = ~np.isin(np.arange(len(frame)), ranked.loc[ranked["suspect"], "row"])
    return ranked.sort_values("score", kind="stable", ignore_index=True)


def cells_of(frame: pd.DataFrame, task: Task, logits: np.ndarray) -> list[JudgedCell]:
    """Put the labels of each row beside what a model predicts, with the temperature that fits them best."""
    ids, judged = task.references(frame["label"]), []
    for place, cell in enumerate(task.cells):
        given, cell_logits = ids[:, place], cell.logits(logits)
        if cell.read_scale is None:
            judged.append(JudgedCell(cell, given, _calibrated(cell_logits, given)))
        else:
            judged.append(JudgedCell(cell, given, expected=cell.read_scale(cell_logits)[1]))
    return judged


def _calibrated(logits: np.ndarray, given: np.ndarray) -> np.ndarray:
    # Decision values of a linear SVM are no log-odds; the temperature makes probabilities out of them.
    known = given != MISSING
    temperature = fit_temperature(logits[known], given[known]) if known.any() else 1.0
    return softmax(logits.astype(np.float64) / temperature)


def rank_cell(judged: JudgedCell, keys: list[str], star_distance: float = STAR_DISTANCE) -> pd.DataFrame:
    """One label of every row that says something, with the columns of `find_suspects`, in the order of the rows."""
    rows = np.flatnonzero(judged.given != MISSING)
    if len(rows) == 0:
        return pd.DataFrame(columns=COLUMNS)
    given = judged.given[rows]
    table = _rank_scale(judged, rows, star_distance) if judged.probabilities is None else _rank_labels(judged, rows)
    disagreements = _two_labels([keys[row] for row in rows], given, judged, rows)
    for place, (proposed, reason) in disagreements.items():
        table.loc[place, ["proposed", "suspect", "two_labels", "reason"]] = [proposed, True, True, reason]
        if judged.probabilities is not None:
            table.loc[place, "p_proposed"] = judged.probabilities[rows[place], judged.cell.id_of(proposed)]
    return table


def _rank_labels(judged: JudgedCell, rows: np.ndarray) -> pd.DataFrame:
    assert judged.probabilities is not None
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise MissingExtraError("cleanlab", "clean") from None
    given, probabilities = judged.given[rows], judged.probabilities[rows]
    # cleanlab wants every class to have rows.
    present, codes = np.unique(given, return_inverse=True)
    shares = probabilities[:, present] / probabilities[:, present].sum(axis=1, keepdims=True)
    several = len(present) > 1
    scores = get_label_quality_scores(codes, shares, method="normalized_margin") if several else np.ones(len(rows))
    found = find_label_issues(codes, shares, n_jobs=1) if several else np.zeros(len(rows), dtype=bool)
    best = present[shares.argmax(axis=1)]
    places, value_of = np.arange(len(rows)), judged.cell.value_of
    p_given, p_best = probabilities[places, given], probabilities[places, best]
    reasons = [
        f"models that did not learn from it give {high:.2f} to {value_of(other)} and {low:.2f} to {value_of(label)}"
        for label, other, low, high in zip(given, best, p_given, p_best, strict=True)
    ]
    proposed = [value_of(label) for label in best]
    return _table(judged, rows, proposed, p_given, p_best, scores, found, reasons)


def _rank_scale(judged: JudgedCell, rows: np.ndarray, star_distance: float) -> pd.DataFrame:
    assert judged.expected is not None
    given, expected = judged.given[rows], judged.expected[rows]
    distance = np.abs(given - expected)
    found = distance >= star_distance
    reasons = [
        f"the text reads like {value:.1f} {judged.cell.name}, {gap:.1f} away"
        for value, gap in zip(expected, distance, strict=True)
    ]
    proposed = [str(int(value)) for value in np.rint(expected)]
    scores = 1 - distance / (len(judged.cell.values) - 1)
    return _table(judged, rows, proposed, None, None, scores, found, reasons)


def _table(
    judged: JudgedCell,
    rows: np.ndarray,
    proposed: list[str],
    p_given: Any,
    p_best: Any,
    scores: Any,
    found: Any,
    reasons: Any,
) -> pd.DataFrame:
    given = [judged.cell.value_of(label) for label in judged.given[rows]]
    values = [rows, judged.cell.name, given, proposed, p_given, p_best, scores, found, False, reasons]
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def _two_labels(keys: list[str], given: np.ndarray, judged: JudgedCell, rows: np.ndarray) -> dict[int, tuple[str, str]]:
    """Rows whose text has two labels -> the label that most of its rows have, or else the likelier one, and why."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    found: dict[int, tuple[str, str]] = {}
    for key, same in places.items():
        counts = Counter(int(given[place]) for place in same)
        if not key or len(counts) < 2:
            continue
        most = [label for label, count in counts.items() if count == max(counts.values())]
        chosen = max(most, key=lambda label: _plausibility(judged, rows[same], label))
        names = ", ".join(f"{count} x {judged.cell.value_of(label)}" for label, count in sorted(counts.items()))
        reason = f"the same text stands there with different labels: {names}"
        found |= dict.fromkeys(same, (judged.cell.value_of(chosen), reason))
    return found


def _plausibility(judged: JudgedCell, rows: np.ndarray, label: int) -> float:
    if judged.probabilities is not None:
        return float(judged.probabilities[rows, label].mean())
    assert judged.expected is not None
    return -float(np.abs(judged.expected[rows] - label).mean())
