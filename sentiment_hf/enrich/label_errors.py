"""Find label errors by confident learning, and drop, relabel or review them (`sentiment-hf data clean`)."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.delimited import plain, write_csv
from sentiment_hf.data.labelled import map_labels
from sentiment_hf.data.splits import matching_key
from sentiment_hf.data.tables import read_table
from sentiment_hf.enrich.confident import assign_folds, baseline_learner, find_suspects, recipe_learner
from sentiment_hf.enrich.review import DROP, Decision, apply_decisions, read_decisions, review_table
from sentiment_hf.tasks import Task
from sentiment_hf.training.arguments import RunArguments, parse_run_arguments
from sentiment_hf.training.setup import read_splits
from sentiment_hf.utils.console import show
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import move_files, staging_folder, write_json, write_text

logger = logging.getLogger(__name__)

SUSPECTS, REPORT, REVIEW, TRAIN = "suspects.csv", "clean.json", "review.csv", "train.jsonl"


def clean_labels(options: argparse.Namespace, recipe: Sequence[str]) -> None:
    """Find suspects among the training rows of a recipe, and write them and what the action makes of them.

    Args:
        options: of `sentiment-hf data clean`, besides the recipe's.
        recipe: the recipe's options, as words of a command line.

    Raises:
        InputError: options that cannot be meant, a folder with a review in it, or no rows to judge.
    """
    check_options(options)
    folder = Path(options.output_dir)
    if (folder / REVIEW).is_file():
        found, remedy = f"{REVIEW}, which someone may have edited", "Choose another --output_dir."
        raise InputError(f"a folder without a review at {folder}", found, remedy)
    args = parse_run_arguments([*recipe, f"--output_dir={folder}"])
    frame, task = training_rows(args)
    if options.reviewed:
        decisions = read_decisions(plain(read_table(options.reviewed)), frame, task, options.reviewed)
        write_rows(folder, apply_decisions(frame, decisions, task), task)
        show(f"{len(decisions):,} decisions applied; see {folder / TRAIN}")
        return
    if not options.fast and args.model.model is None:
        raise InputError("a recipe with `model:`, or --fast", "neither", "Give --config, or judge by the baseline.")
    folds = assign_folds(frame, task, options.folds, args.training.seed)
    with staging_folder(folder) as staging:
        learner = baseline_learner(task) if options.fast else recipe_learner(recipe, task, staging / "folds")
        ranked = find_suspects(frame, task, folds, learner, options.rounds, options.star_distance)
    suspects = chosen(ranked, options.share)
    write_findings(folder, suspects, ranked, frame, task, options)
    report_line = f"{len(suspects):,} of {len(ranked):,} labels are suspect; see {folder / SUSPECTS}"
    show(report_line if options.action == "review" else f"{report_line} and {folder / TRAIN}")


def check_options(options: argparse.Namespace) -> None:
    """Raise InputError for values that cannot be meant."""
    if options.output_dir is None:
        raise InputError("output_dir", "none", "Give --output_dir, the folder of the findings.")
    if options.rounds < 1:
        raise InputError("at least 1 round", str(options.rounds), "1 is the default.")
    if options.share is not None and not 0 < options.share <= 1:
        raise InputError("a share above 0 and at most 1", str(options.share), "0.1 is a tenth of the labels.")
    if options.star_distance <= 0:
        raise InputError("star_distance above 0", str(options.star_distance), "1.5 is the default.")


def training_rows(args: RunArguments) -> tuple[pd.DataFrame, Task]:
    """Read the training rows as they stand, blank ones aside, labels as ids.

    Raises:
        InputError: see `load_splits` and `map_labels`; no texts.
    """
    splits, task = read_splits(args)
    name = "the training rows"
    frame = map_labels(splits["train"], task, name, label_values=args.task.label_values, training=True)
    frame = frame[~frame["text"].map(is_blank)].reset_index(drop=True)
    if frame.empty:
        raise InputError("texts in the training rows", "only blank ones", "Check the text column.")
    return frame, task


def chosen(ranked: pd.DataFrame, share: float | None) -> pd.DataFrame:
    """Choose the suspects: those found or, with a share, the worst so many and every text with two labels."""
    if share is None:
        return ranked[ranked["suspect"]].reset_index(drop=True)
    worst = np.arange(len(ranked)) < round(share * len(ranked))
    return ranked[worst | ranked["two_labels"].astype(bool)].reset_index(drop=True)


def write_findings(
    folder: Path,
    suspects: pd.DataFrame,
    ranked: pd.DataFrame,
    frame: pd.DataFrame,
    task: Task,
    options: argparse.Namespace,
) -> None:
    """All files of a cleaning, whole or not at all."""
    table = review_table(suspects, frame)
    report: dict[str, Any] = {"rows": len(frame), "labels": len(ranked), "suspects": len(suspects)}
    twice = frame["text"].iloc[suspects.loc[suspects["two_labels"].astype(bool), "row"].tolist()]
    report |= {"texts_with_two_labels": len({matching_key(text) for text in twice})}
    report |= {"judged_by": "the TF-IDF baseline" if options.fast else "a recipe's model"}
    report |= {"folds": options.folds, "rounds": options.rounds, "action": options.action}
    with staging_folder(folder) as staging:
        write_csv(table.drop(columns="decision"), staging / SUSPECTS)
        if options.action == "review":
            write_csv(table, staging / REVIEW)
        else:
            mended = apply_decisions(frame, automatic(suspects, options.action), task)
            report["rows_left"] = len(mended)
            write_rows(staging, mended, task)
        write_json(staging / REPORT, report)
        move_files(staging, folder, last=REPORT)


def automatic(suspects: pd.DataFrame, action: str) -> list[Decision]:
    """Decisions without a person: every suspect dropped, or given the label proposed."""
    decided = [DROP] * len(suspects) if action == "drop" else suspects["proposed"].tolist()
    return list(zip(suspects["row"].tolist(), suspects["cell"].tolist(), decided, strict=True))


def write_rows(folder: Path, frame: pd.DataFrame, task: Task) -> None:
    lines = task.name_labels(frame.drop(columns="doc_id")).to_json(orient="records", lines=True, force_ascii=False)
    write_text(folder / TRAIN, lines)
