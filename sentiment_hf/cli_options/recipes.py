"""Verbs whose options are recipe keys."""

from __future__ import annotations

import argparse
from typing import Any


def add_recipe_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    from sentiment_hf.distillation.options import DISTILLATION_PARTS
    from sentiment_hf.recipe import add_recipe_options

    epilog = "The command line overrides the recipe. Fields of transformers' TrainingArguments are keys as well."
    without = " Without a recipe the model is starter, the folder runs/ and the file's name; learning rate, epochs and "
    without += "others follow from the model's size and the rows. They are said and written down, and an option wins."
    for name, text in (
        ("run", "the whole job of a recipe: train, score beside the baseline, export, INT8 behind the gate, report"),
        ("train", "fine-tune by a recipe and score beside the baseline"),
        ("baseline", "fit and score the TF-IDF baseline alone, with a recipe's data keys"),
    ):
        chosen = "" if name == "baseline" else without
        verb = verbs.add_parser(name, help=text, description=text, epilog=epilog + chosen)
        verb.add_argument("file", nargs="?", metavar="FILE", help="labelled rows; the same as --train_file")
        add_recipe_options(verb)
    text = "distill a large encoder into a small one, on unlabelled text"
    add_recipe_options(verbs.add_parser("distill", help=text, description=text, epilog=epilog), DISTILLATION_PARTS)
    text = "compare settings of a recipe over seeds: one run each, one table; goes on where it was stopped"
    epilog = "Recipe keys apply to every run; a key that the sweep varies is not among them."
    # --config and --output_dir mean a sweep here, not a recipe and a run.
    ablate = verbs.add_parser("ablate", help=text, description=text, epilog=epilog, conflict_handler="resolve")
    add_recipe_options(ablate)
    ablate.add_argument("--config", metavar="SWEEP.yaml", help="sweep file: base, grid and/or list, seeds")
    ablate.add_argument("--output_dir", metavar="FOLDER", help="folder of the sweep: table.md, results.csv, runs/")
    text = "names of settings to run now, as --dry_run shows them (all)"
    ablate.add_argument("--only", nargs="+", metavar="SETTING", help=text)
    text = "runs at work at a time, each on its share of the cores and on a GPU of its own where there are several (1)"
    ablate.add_argument("--jobs", type=int, metavar="N", help=text)
    ablate.add_argument("--keep_models", metavar="…", help="keep the weights of every run (default: false)")
    ablate.add_argument("--dry_run", action="store_true", help="print the runs and their folders, run nothing")
