"""Confident learning: label errors, found by models that did not learn from the row.

Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", through cleanlab.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from sentiment_hf.data.splits import matching_key, text_fraction
from sentiment_hf.evaluation.baseline import baseline_logits, fit_baseline
from sentiment_hf.inference.calibration import fit_temperature
from sentiment_hf.tasks import Cell, Task, softmax
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.utils.exceptions import InputError, MissingExtraError
from sentiment_hf.utils.files import move_files, staging_folder, write_text

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


# Rows to learn from, and rows to judge -> logits `[rows, width]` of the latter.
Learner = Callable[[pd.DataFrame, pd.DataFrame], np.ndarray]


def assign_folds(frame: pd.DataFrame, task: Task, folds: int, seed: int) -> np.ndarray:
    """Which fold each row is in, `[rows]` from 0: shares of the labels kept, equal texts always together.

    A text whose twin is learned from would be judged by memory.

    Raises:
        InputError: fewer than two folds, or fewer different texts than folds.
    """
    if folds < 2:
        raise InputError("at least 2 folds", str(folds), "5 is the default.")
    keys = [matching_key(text) for text in frame["text"]]
    first = dict(zip(reversed(keys), reversed([str(label) for label in task.strata(frame["label"])]), strict=True))
    if len(first) < folds:
        raise InputError(f"at least {folds} different texts for {folds} folds", str(len(first)), "Give more rows.")
    ordered = sorted(first, key=lambda key: (first[key], text_fraction(key, seed)))
    fold_of = {key: place % folds for place, key in enumerate(ordered)}
    return np.array([fold_of[key] for key in keys])


def out_of_fold(
    frame: pd.DataFrame, folds: np.ndarray, learner: Learner, learn_from: np.ndarray | None = None
) -> np.ndarray:
    """Logits `[rows, width]` of every row, each from a model that learned from the other folds alone.

    Args:
        frame: rows with `text` and `label` (ids).
        folds: of each row, `[rows]`.
        learner: learns and judges.
        learn_from: `[rows]` of booleans, rows that may be learned from; all of them are judged.

    Raises:
        InputError: a fold without rows to learn from.
    """
    allowed = np.ones(len(frame), dtype=bool) if learn_from is None else learn_from
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for fold in tqdm(np.unique(folds), desc="Judging rows by the other folds", unit="fold"):
        inside = folds == fold
        if not (allowed & ~inside).any():
            raise InputError("rows to learn from beside each fold", "none", "Give more rows.")
        parts.append((np.flatnonzero(inside), learner(frame[allowed & ~inside], frame[inside])))
    logits = np.empty((len(frame), parts[0][1].shape[1]))
    for places, values in parts:
        logits[places] = values
    return logits


def baseline_learner(task: Task) -> Learner:
    """Build a learner of the TF-IDF baseline: seconds a fold."""

    def judge(rows: pd.DataFrame, judged: pd.DataFrame) -> np.ndarray:
        baseline = fit_baseline(rows["text"].tolist(), rows["label"].tolist(), task)
        return baseline_logits(baseline, judged["text"].tolist(), task)

    return judge


def remembered(learner: Learner, folder: Path, settings: Sequence[str]) -> Learner:
    """Wrap a learner so that it keeps its logits and learns nothing twice: a study of many trainings can be stopped.

    Args:
        learner: learns and judges.
        folder: for the logits, a file each.
        settings: whatever else the logits depend on.
    """

    def judge(rows: pd.DataFrame, judged: pd.DataFrame) -> np.ndarray:
        known = [list(settings), rows["text"].tolist(), rows["label"].tolist(), judged["text"].tolist()]
        name = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
        file = folder / f"{name}.npy"
        if file.is_file():
            return np.asarray(np.load(file, allow_pickle=False))
        logits = learner(rows, judged)
        with staging_folder(folder) as staging:
            np.save(staging / file.name, logits)
            move_files(staging, folder, last=file.name)
        return logits

    return judge


def recipe_learner(words: Sequence[str], task: Task, folder: Path) -> Learner:
    """Build a learner of a recipe's own training, one whole run a fold; validation rows for its checkpoint come from
    those learned from.

    Args:
        words: `--config recipe.yaml --key value …`; keys that say which rows to load are overridden.
        task: of the rows.
        folder: where runs stand while they last.
    """
    return partial(_train_and_judge, list(words), task, folder)


def _train_and_judge(
    words: list[str], task: Task, folder: Path, rows: pd.DataFrame, judged: pd.DataFrame
) -> np.ndarray:
    from sentiment_hf.training.arguments import parse_run_arguments
    from sentiment_hf.training.run import train

    run = folder / "fold"
    files = {"train": folder / "learned.jsonl", "test": folder / "judged.jsonl"}
    for name, part in (("train", rows), ("test", judged)):
        lines = task.name_labels(part[["text", "label"]]).to_json(orient="records", lines=True, force_ascii=False)
        write_text(files[name], lines)
    args = parse_run_arguments([*words, f"--output_dir={run}", "--baseline=false", "--protocol=published"])
    data = args.data
    data.train_file, data.test_file, data.validation_file = str(files["train"]), str(files["test"]), None
    data.data_dir = data.text_column = data.label_column = data.supplement = None
    if task.is_single_label:
        # A fold may lack a rare label, and ids have to mean the same in all of them.
        args.task.labels = list(task.labels)  # type: ignore[assignment]
    scorer = train(args).scorer
    # A fold is trained by this process alone.
    assert scorer is not None
    logits = scorer.logits(judged["text"].tolist())
    shutil.rmtree(run)
    return logits
