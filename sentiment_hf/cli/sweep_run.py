"""`sentiment-hf sweep run`: run a recipe with some keys varied, over seeds, and write one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sentiment_hf.config.values import check_positive
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError, exits_cleanly
from sentiment_hf.utils.files import held_alone

if TYPE_CHECKING:
    from sentiment_hf.sweeps.plan import Run
    from sentiment_hf.sweeps.sweep import Sweep


from sentiment_hf.config.recipe import add_recipe_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Recipe keys apply to every run; keys that the sweep varies cannot be given."
    parser.usage = f"{parser.prog} --config SWEEP.yaml --output_dir FOLDER [--only SETTING …] [--KEY VALUE …]"
    add_recipe_options(parser, shown=())
    # In place of those of a recipe and a run.
    parser.add_argument("--config", metavar="SWEEP.yaml", help="sweep file with base, grid and/or list, seeds")
    parser.add_argument("--output_dir", metavar="FOLDER", help="folder of the sweep: table.md, results.csv, runs/")
    text = "names of settings to run now, as --dry_run shows them (default: all)"
    parser.add_argument("--only", nargs="+", metavar="SETTING", help=text)
    text = "concurrent runs, each with its share of the CPU cores and, if there are several, its own GPU (default: 1)"
    parser.add_argument("--jobs", type=int, metavar="N", help=text)
    parser.add_argument("--keep_models", metavar="…", help="keep the weights of every run (default: false)")
    parser.add_argument("--dry_run", action="store_true", help="print the runs and their folders without running them")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError("valid values", message, "See: sentiment-hf sweep run --help")


@exits_cleanly
def main(words: Sequence[str]) -> int:
    from sentiment_hf.sweeps.ablation import run_sweep
    from sentiment_hf.sweeps.plan import FAILED, plan_runs
    from sentiment_hf.sweeps.search import run_search
    from sentiment_hf.sweeps.sweep import read_sweep
    from sentiment_hf.sweeps.table import RESULTS_FILE, TABLE_FILE, summarize, sweep_table

    log_to_stderr()
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--output_dir")
    parser.add_argument("--keep_models", nargs="?", const="true", default="false", choices=("true", "false"))
    parser.add_argument("--dry_run", nargs="?", const="true", default="false", choices=("true", "false"))
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--jobs", type=int, default=1)
    args, overrides = parser.parse_known_args(words)
    if args.config is None:
        raise InputError("a sweep", "none", "Give --config, for example recipes/reviews/compare_truncation.yaml.")
    if args.output_dir is None:
        raise InputError("output_dir", "none", "Give --output_dir, the folder of the sweep.")
    check_positive("jobs", args.jobs)
    sweep, folder = read_sweep(Path(args.config)), Path(args.output_dir)
    chosen = _chosen(sweep, args.only)
    runs = plan_runs(sweep, folder, overrides)
    if args.dry_run == "true":
        if sweep.search is not None:
            show(f"{sweep.search.trials} trials over {', '.join(sweep.search.space)}, each under seeds {sweep.seeds}")
        for run in (run for run in runs if run.setting.name in chosen):
            show(f"{run.folder}  {run.name}: {_progress(run)}")
        return 0
    keep_models = args.keep_models == "true"
    with held_alone(folder) as alone:
        if not alone:
            remedy = "Wait for it, or choose another --output_dir."
            raise InputError(f"one sweep at a time in {folder}", "another that is running", remedy)
        if sweep.search is None:
            outcomes = run_sweep(sweep.name, runs, folder, keep_models, chosen=chosen, jobs=args.jobs)
        else:
            outcomes = run_search(sweep, folder, overrides, keep_models, args.jobs)
    show(sweep_table(sweep.name, summarize(outcomes)))
    show(f"{TABLE_FILE}, {RESULTS_FILE} and the runs are in {folder}")
    return 1 if any(outcome.status == FAILED for outcome in outcomes) else 0


def _chosen(sweep: Sweep, only: Sequence[str] | None) -> set[str]:
    """Choose the names of the settings to run now: all, unless some are named.

    Raises:
        InputError: a name that no setting has, or names where a search chooses.
    """
    names = {setting.name for setting in sweep.settings}
    unknown = [name for name in only or () if name not in names]
    if unknown:
        expected = "no --only for a search" if sweep.search else f"--only among {', '.join(sorted(names))}"
        raise InputError(expected, repr(unknown[0]), "Quote names that contain spaces.")
    return set(only or names)


def _progress(run: Run) -> str:
    return "finished" if run.is_finished else "to be resumed" if run.is_begun else "to be run"
