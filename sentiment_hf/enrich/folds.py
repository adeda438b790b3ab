"""Out-of-fold logits: what a model predicts for each training row when it has not learned from it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from sentiment_hf.data.matching import matching_key, text_fraction
from sentiment_hf.evaluation.baseline import baseline_logits, fit_baseline
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import move_files, staging_folder, write_text
from sentiment_hf.tasks import Task

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
