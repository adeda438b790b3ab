"""Confident learning: rows whose label the rest of the data speaks against.

Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", through cleanlab.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.aspects import MISSING, STARS, VALUES, AspectTask, stars_of
from sentiment_hf.data.labelled import AnyTask
from sentiment_hf.data.matching import matching_key
from sentiment_hf.enrich.folds import Learner, out_of_fold
from sentiment_hf.evaluation.calibration import fit_temperature
from sentiment_hf.evaluation.prediction import softmax
from sentiment_hf.exceptions import MissingExtraError

STAR_DISTANCE = 1.5
STARS_CELL = "stars"
COLUMNS = ["row", "cell", "given", "proposed", "p_given", "p_proposed", "score", "suspect", "two_labels", "reason"]


@dataclass(frozen=True)
class Cell:
    """One label of every row: that of a task with one label, one aspect's, or the stars.

    Attributes:
        name: the aspect, `stars`, or "" where a row has one label.
        names: label names in the order of their ids; for stars "1" to "5".
        given: `[rows]`, ids (of stars: the stars), `MISSING` where nothing is said.
        probabilities: `[rows, labels]` out of fold; None for stars.
        expected: `[rows]`, the expected stars; None but for stars.
    """

    name: str
    names: tuple[str, ...]
    given: np.ndarray
    probabilities: np.ndarray | None = None
    expected: np.ndarray | None = None


def find_suspects(
    frame: pd.DataFrame,
    task: AnyTask,
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


def cells_of(frame: pd.DataFrame, task: AnyTask, logits: np.ndarray) -> list[Cell]:
    """The labels of each row beside what a model says of them, with the temperature that fits them best."""
    if not isinstance(task, AspectTask):
        given = frame["label"].to_numpy(dtype=int)
        return [Cell("", tuple(task.labels), given, _calibrated(logits, given))]
    labels = np.array(frame["label"].tolist(), dtype=int)
    answers, rating = task.unpack(logits)
    cells = [
        Cell(aspect, VALUES, labels[:, place], _calibrated(answers[:, place], labels[:, place]))
        for place, aspect in enumerate(task.aspects)
    ]
    if rating is not None:
        expected = stars_of(rating)[1]
        cells.append(Cell(STARS_CELL, tuple(map(str, STARS)), labels[:, -1], expected=expected))
    return cells


def _calibrated(logits: np.ndarray, given: np.ndarray) -> np.ndarray:
    # Decision values of a linear SVM are no log-odds; the temperature makes probabilities out of them.
    known = given != MISSING
    temperature = fit_temperature(logits[known], given[known]) if known.any() else 1.0
    return softmax(logits.astype(np.float64) / temperature)


def rank_cell(cell: Cell, keys: list[str], star_distance: float = STAR_DISTANCE) -> pd.DataFrame:
    """One label of every row that says something, with the columns of `find_suspects`, in the order of the rows."""
    rows = np.flatnonzero(cell.given != MISSING)
    if len(rows) == 0:
        return pd.DataFrame(columns=COLUMNS)
    given = cell.given[rows]
    table = _rank_stars(cell, rows, star_distance) if cell.probabilities is None else _rank_labels(cell, rows)
    disagreements = _two_labels([keys[row] for row in rows], given, cell, rows)
    for place, (proposed, reason) in disagreements.items():
        table.loc[place, ["proposed", "suspect", "two_labels", "reason"]] = [proposed, True, True, reason]
        if cell.probabilities is not None:
            table.loc[place, "p_proposed"] = cell.probabilities[rows[place], cell.names.index(proposed)]
    return table


def _rank_labels(cell: Cell, rows: np.ndarray) -> pd.DataFrame:
    assert cell.probabilities is not None
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise MissingExtraError("cleanlab", "clean") from None
    given, probabilities = cell.given[rows], cell.probabilities[rows]
    # cleanlab wants every class to have rows.
    present, codes = np.unique(given, return_inverse=True)
    shares = probabilities[:, present] / probabilities[:, present].sum(axis=1, keepdims=True)
    several = len(present) > 1
    scores = get_label_quality_scores(codes, shares, method="normalized_margin") if several else np.ones(len(rows))
    found = find_label_issues(codes, shares, n_jobs=1) if several else np.zeros(len(rows), dtype=bool)
    best = present[shares.argmax(axis=1)]
    places = np.arange(len(rows))
    p_given, p_best = probabilities[places, given], probabilities[places, best]
    reasons = [
        f"models that did not learn from it give {high:.2f} to {cell.names[other]} and {low:.2f} to {cell.names[label]}"
        for label, other, low, high in zip(given, best, p_given, p_best, strict=True)
    ]
    proposed = [cell.names[label] for label in best]
    return _table(cell, rows, proposed, p_given, p_best, scores, found, reasons)


def _rank_stars(cell: Cell, rows: np.ndarray, star_distance: float) -> pd.DataFrame:
    assert cell.expected is not None
    given, expected = cell.given[rows], cell.expected[rows]
    distance = np.abs(given - expected)
    found = distance >= star_distance
    reasons = [
        f"the text reads like {value:.1f} stars, {gap:.1f} away" for value, gap in zip(expected, distance, strict=True)
    ]
    proposed = [str(int(value)) for value in np.rint(expected)]
    scores = 1 - distance / (STARS[-1] - STARS[0])
    return _table(cell, rows, proposed, None, None, scores, found, reasons)


def _table(
    cell: Cell, rows: np.ndarray, proposed: list[str], p_given: Any, p_best: Any, scores: Any, found: Any, reasons: Any
) -> pd.DataFrame:
    offset = STARS[0] if cell.probabilities is None else 0
    given = [cell.names[label - offset] for label in cell.given[rows]]
    values = [rows, cell.name, given, proposed, p_given, p_best, scores, found, False, reasons]
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def _two_labels(keys: list[str], given: np.ndarray, cell: Cell, rows: np.ndarray) -> dict[int, tuple[str, str]]:
    """Rows whose text has two labels -> the label that most of its rows have, or else the likelier one, and why."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    offset = STARS[0] if cell.probabilities is None else 0
    found: dict[int, tuple[str, str]] = {}
    for key, same in places.items():
        counts = Counter(int(given[place]) for place in same)
        if not key or len(counts) < 2:
            continue
        most = [label for label, count in counts.items() if count == max(counts.values())]
        chosen = max(most, key=lambda label: _plausibility(cell, rows[same], label))
        names = ", ".join(f"{count} x {cell.names[label - offset]}" for label, count in sorted(counts.items()))
        reason = f"the same text stands there with different labels: {names}"
        found |= dict.fromkeys(same, (cell.names[chosen - offset], reason))
    return found


def _plausibility(cell: Cell, rows: np.ndarray, label: int) -> float:
    if cell.probabilities is not None:
        return float(cell.probabilities[rows, label].mean())
    assert cell.expected is not None
    return -float(np.abs(cell.expected[rows] - label).mean())
