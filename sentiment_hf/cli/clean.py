"""`sentiment-hf data clean`: find label errors by confident learning."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from sentiment_hf.config.recipe import add_recipe_options
from sentiment_hf.utils.console import log_to_stderr
from sentiment_hf.utils.exceptions import InputError, exits_cleanly


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError("valid values", message, "See: sentiment-hf data clean --help")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The recipe names the rows and, without --fast, the settings of the models trained on them."
    parser.usage = f"{parser.prog} --output_dir FOLDER [--config RECIPE.yaml] [--fast] [--KEY VALUE …]"
    add_recipe_options(parser, shown=("train_file", "task", "labels", "text_column", "label_column"))
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cleaning")
    group.add_argument(
        "--output_dir", metavar="FOLDER", help="folder for suspects.csv, clean.json and the result of --action"
    )
    group.add_argument(
        "--fast", action="store_true", help="use the TF-IDF baseline instead of training models: seconds"
    )
    group.add_argument("--folds", type=int, default=5, metavar="K", help="cross-validation folds (default: 5)")
    text = "passes over all rows; from the second on suspects are left out of training (default: 1)"
    group.add_argument("--rounds", type=int, default=1, metavar="N", help=text)
    text = "what to do with suspects: review (a csv to edit), drop or relabel (default: review)"
    group.add_argument("--action", choices=("review", "drop", "relabel"), default="review", help=text)
    text = "take this share of all labels as suspects, the worst first (default: those that confident learning finds)"
    group.add_argument("--share", type=float, metavar="SHARE", help=text)
    group.add_argument(
        "--star_distance",
        type=float,
        default=1.5,
        metavar="STARS",
        help="a rating this far from its prediction is suspect (default: 1.5)",
    )
    text = "edited review.csv: apply its decisions and write the training rows, without a new search"
    group.add_argument("--reviewed", metavar="FILE", help=text)


@exits_cleanly
def main(words: Sequence[str]) -> int:
    from sentiment_hf.enrich.label_errors import clean_labels

    log_to_stderr()
    parser = _Parser(add_help=False, allow_abbrev=False)
    _add_options(parser)
    clean_labels(*parser.parse_known_args(words))
    return 0
