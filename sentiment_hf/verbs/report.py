"""`sentiment-hf report`: finished runs in one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sentiment_hf.console import show
from sentiment_hf.evaluation.report import metrics_table, read_metrics
from sentiment_hf.evaluation.seeds import seeds_table
from sentiment_hf.exceptions import InputError
from sentiment_hf.recipe import read_recipe


def run(args: argparse.Namespace) -> int:
    metrics = [read_metrics(run) for run in args.runs]
    if args.over_seeds:
        show(seeds_table([(_recipe(run), scores) for run, scores in zip(args.runs, metrics, strict=True)]))
    else:
        show(metrics_table(metrics))
    return 0


def _recipe(run: str) -> dict[str, Any]:
    path = Path(run) / "recipe.yaml"
    if not path.is_file():
        raise InputError(f"a run of a recipe at {run}", "no recipe.yaml", "Leave --over_seeds out.")
    return read_recipe(path, known=None)
