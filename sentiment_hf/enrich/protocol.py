"""Is cleaning worth it: labels flipped on purpose, found again, restored, and the score after each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.enrich.confident import find_suspects
from sentiment_hf.enrich.folds import Learner, assign_folds
from sentiment_hf.exceptions import InputError
from sentiment_hf.tasks import Task

REVIEWED = (0.1, 0.2, 0.3)
CLEAN, CORRUPTED, DROPPED = "clean labels", "corrupted", "suspects dropped"
JUDGED, CONFIRMED = "suspects relabelled by the judge", "suspects dropped that the judge calls wrong"
# Texts of suspects -> the label names that a judge gives them, None where it abstains.
SecondOpinion = Callable[[Sequence[str]], Sequence[str | None]]


def flip_labels(labels: np.ndarray, share: float, classes: int, seed: int) -> np.ndarray:
    """Labels of which exactly so large a share is replaced by another class, drawn evenly; `[rows]`, ids."""
    generator = np.random.default_rng(seed)
    flipped = generator.permutation(len(labels))[: round(share * len(labels))]
    noisy = labels.copy()
    noisy[flipped] = (labels[flipped] + generator.integers(1, classes, len(flipped))) % classes
    return noisy


def cleaning_protocol(
    train: pd.DataFrame,
    test: pd.DataFrame,
    task: Task,
    learner: Learner,
    noise: float = 0.2,
    seed: int = 42,
    folds: int = 5,
    rounds: int = 1,
    reviewed: Sequence[float] = REVIEWED,
    judge: SecondOpinion | None = None,
    scored: Learner | None = None,
) -> dict[str, Any]:
    """One seed of the protocol.

    Suspects are ranked once, by models that see corrupted labels alone. The oracle reviewer restores the true label of
    the worst so many rows; `drop` leaves out what confident learning suspects.

    Args:
        train: rows with true `label` (ids).
        test: rows with labels that stay as they are.
        task: with one label.
        learner: ranks, and is what is scored where no other is.
        noise: share of training labels that are flipped.
        seed: of the flips and of the folds.
        folds: see `assign_folds`.
        rounds: see `find_suspects`.
        reviewed: shares of the rows that are reviewed.
        judge: asked about what confident learning suspects; the table then also has what becomes of its answers.
        scored: learns from the labels after each step in the learner's place.

    Returns:
        `scores` (step -> the task's metric on test), `precision` (share reviewed -> share of these that were flipped),
        `left` (share reviewed -> share of all labels still wrong), `dropped` (rows, and share of them flipped) and,
        with a judge, `judged` (rows, abstentions, and share of the verdicts that are the true label).

    Raises:
        InputError: noise that is not between 0 and 1.
    """
    if not 0 < noise < 1:
        raise InputError("a share of flipped labels between 0 and 1", str(noise), "0.2 is the default.")
    true = train["label"].to_numpy(dtype=int)
    noisy = flip_labels(true, noise, len(task.labels), seed)
    corrupted = train.assign(label=noisy)
    ranked = find_suspects(corrupted, task, assign_folds(corrupted, task, folds, seed), learner, rounds)
    worst, suspects = ranked["row"].to_numpy(dtype=int), ranked.loc[ranked["suspect"], "row"].to_numpy(dtype=int)

    def score(rows: pd.DataFrame) -> float:
        return float(task.scores((scored or learner)(rows, test), test["label"].tolist())[task.metric])

    scores = {CLEAN: score(train), CORRUPTED: score(corrupted)}
    precision, left = {}, {}
    for share in reviewed:
        top = worst[: round(share * len(train))]
        mended = noisy.copy()
        mended[top] = true[top]
        precision[f"{share:g}"] = float((noisy != true)[top].mean())
        left[f"{share:g}"] = float((mended != true).mean())
        scores[f"{share:.0%} reviewed"] = score(train.assign(label=mended))
    scores[DROPPED] = score(corrupted.drop(index=corrupted.index[suspects]))
    dropped = {"rows": len(suspects), "precision": float((noisy != true)[suspects].mean()) if len(suspects) else None}
    found: dict[str, Any] = {"scores": scores, "precision": precision, "left": left, "dropped": dropped}
    if judge is not None:
        verdicts = judge([train["text"].iloc[row] for row in suspects])
        said = zip(suspects, verdicts, strict=True)
        ids = np.array([noisy[row] if name is None else task.label2id[name] for row, name in said])
        relabelled = noisy.copy()
        relabelled[suspects] = ids
        scores[JUDGED] = score(train.assign(label=relabelled))
        scores[CONFIRMED] = score(corrupted.drop(index=corrupted.index[suspects[ids != noisy[suspects]]]))
        abstained = sum(name is None for name in verdicts)
        right = float((ids == true[suspects]).mean())
        found["judged"] = {"rows": len(suspects), "abstained": abstained, "right": right}
    return {"seed": seed, "rows": len(train), **found}


def protocol_table(results: Sequence[dict[str, Any]], metric: str) -> str:
    """Markdown: the score after each step, mean and standard deviation over seeds, and what it regains.

    The share of the loss regained is that of the means: of a single seed it is a ratio of two small numbers.
    """
    steps = list(results[0]["scores"])
    values = {step: np.array([result["scores"][step] for result in results]) for step in steps}
    loss = values[CLEAN].mean() - values[CORRUPTED].mean()
    lines = [f"| training labels | {metric} | loss regained | precision of suspects | labels still wrong |"]
    lines.append("|---|---|---|---|---|")
    for step in steps:
        deviation = values[step].std(ddof=1) if len(results) > 1 else 0.0
        cells = [step, f"{100 * values[step].mean():.2f} ± {100 * deviation:.2f}", "", "", ""]
        if step not in (CLEAN, CORRUPTED) and loss > 0:
            cells[2] = f"{(values[step].mean() - values[CORRUPTED].mean()) / loss:.0%}"
        if step.endswith("reviewed"):
            share = f"{float(step.split('%')[0]) / 100:g}"
            cells[3] = f"{np.mean([result['precision'][share] for result in results]):.1%}"
            cells[4] = f"{np.mean([result['left'][share] for result in results]):.1%}"
        if step == DROPPED:
            found = [result["dropped"]["precision"] for result in results if result["dropped"]["rows"]]
            cells[3] = f"{np.mean(found):.1%}" if found else ""
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
