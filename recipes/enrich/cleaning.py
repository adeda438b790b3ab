"""What cleaning is worth on your data: labels flipped on purpose, found by `data clean`, restored or dropped.

    python recipes/enrich/cleaning.py --fast --config recipes/reviews/plain.yaml --data_dir FOLDER \
        --train_file train.tsv --validation_file validation.tsv --test_file test.tsv --output_dir runs/cleaning

Ranks and scores with the TF-IDF baseline (`--fast`) or with the recipe's own training: for every seed the folds, and
one run for each line of the table. `--fast_scores` ranks with the recipe and scores with the baseline, so that the
folds are all that is trained. `--rows 500` takes another sample of so many training rows for every seed. What a
training said is kept in OUTPUT_DIR/logits and finished seeds beside it, so a study that was stopped goes on. With
`--llm MODEL` and the options of `data judge` a language model judges the suspects, with two examples of each
label from the validation rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from sentiment_hf.cli.llm_options import add_judging_options, add_llm_options
from sentiment_hf.config.values import parse_value
from sentiment_hf.enrich.confident import (
    Learner,
    assign_folds,
    baseline_learner,
    find_suspects,
    recipe_learner,
    remembered,
)
from sentiment_hf.enrich.judge import TEMPLATE, Judge, label_words
from sentiment_hf.enrich.llm import open_llm
from sentiment_hf.tasks import Task
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.setup import load_data
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError, exits_cleanly
from sentiment_hf.utils.files import read_json, staging_folder, write_json, write_text

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
        judge: asked about what confident learning suspects; the table then also has what becomes of its replies.
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


@contextmanager
def second_opinion(
    options: argparse.Namespace, task: Task, validation: pd.DataFrame, seed: int
) -> Iterator[SecondOpinion | None]:
    """Open a judge as the options name it, with examples from the validation rows; yield None without `--llm`."""
    if not options.llm:
        yield None
        return
    names = [task.labels[label] for label in validation["label"]]
    known = pd.DataFrame({"text": validation["text"], "label": names, "classifier": names})
    words = label_words(task.labels, parse_value(options.label_words, "label_words", (dict,)))
    with open_llm(options, options.output_dir) as llm:
        judge = Judge(llm, words, Path(options.prompt) if options.prompt else TEMPLATE)
        judge.learn(known, 2, seed)
        yield lambda texts: [verdict.label for verdict in judge.verdicts(texts)]


@exits_cleanly
def main() -> int:
    log_to_stderr()
    # Not shortened: --seed is a recipe's key.
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind, allow_abbrev=False)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--fast", action="store_true", help="the TF-IDF baseline in place of the recipe's training")
    text = "rank with the recipe's training and score with the baseline"
    parser.add_argument("--fast_scores", action="store_true", help=text)
    parser.add_argument("--noise", type=float, default=0.2, help="share of training labels flipped (0.2)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--rows", type=int, help="a sample of so many training rows for every seed")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    add_judging_options(parser)
    add_llm_options(parser)
    options, words = parser.parse_known_args()
    if options.fast and options.fast_scores:
        raise InputError("--fast or --fast_scores", "both", "The former ranks with the baseline as well.")
    data = load_data(parse_run_arguments([*words, f"--output_dir={options.output_dir}"]))
    task, train, test = data.task, data.splits["train"], data.splits.get("test", data.splits["validation"])
    if not task.is_single_label:
        raise InputError("a task with one label", "aspects", "The protocol flips one label a row.")
    names = ("fast", "fast_scores", "noise", "rows", "folds", "rounds", "llm", "base_url", "label_words", "prompt")
    settings = {name: getattr(options, name) for name in names}
    settings |= {"words": words}
    results = []
    for seed in tqdm(options.seeds, desc="Cleaning protocol", unit="seed"):
        file = options.output_dir / f"seed-{seed}.json"
        result = read_json(file) if file.is_file() else {}
        if result.get("settings") != settings:
            rows = train if options.rows is None else train.sample(options.rows, random_state=seed)
            rows = rows.reset_index(drop=True)
            with (
                staging_folder(options.output_dir) as staging,
                second_opinion(options, task, data.splits["validation"], seed) as judge,
            ):
                baseline, run = baseline_learner(task), [*words, f"--seed={seed}"]
                learned = remembered(recipe_learner(run, task, staging), options.output_dir / "logits", run)
                result = cleaning_protocol(
                    rows,
                    test,
                    task,
                    baseline if options.fast else learned,
                    options.noise,
                    seed,
                    options.folds,
                    options.rounds,
                    judge=judge,
                    scored=baseline if options.fast_scores else None,
                )
            write_json(file, result | {"settings": settings})
        results.append(result)
    table = protocol_table(results, task.metric)
    write_text(options.output_dir / "table.md", table)
    show(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
