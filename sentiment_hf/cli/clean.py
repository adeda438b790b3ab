"""`sentiment-hf data clean`: label errors, found by confident learning."""

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
    parser.epilog = "A recipe says which rows and, without --fast, how a model is trained on them."
    parser.usage = f"{parser.prog} --output_dir FOLDER [--config RECIPE.yaml] [--fast] [--KEY VALUE …]"
    add_recipe_options(parser, shown=("train_file", "task", "labels", "text_column", "label_column"))
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cleaning")
    group.add_argument("--output_dir", metavar="FOLDER", help="for suspects.csv, clean.json and what the action writes")
    group.add_argument("--fast", action="store_true", help="judge by the TF-IDF baseline: seconds, no training")
    group.add_argument("--folds", type=int, default=5, metavar="K", help="models, each judges what it has not seen (5)")
    text = "times that all is judged; from the second on without learning from what is suspect (1)"
    group.add_argument("--rounds", type=int, default=1, metavar="N", help=text)
    text = "what to do with suspects: review (a csv to edit), drop or relabel"
    group.add_argument("--action", choices=("review", "drop", "relabel"), default="review", help=text)
    text = "take the worst so large a share of all labels as suspects; default: as many as confident learning finds"
    group.add_argument("--share", type=float, metavar="SHARE", help=text)
    group.add_argument(
        "--star_distance", type=float, default=1.5, metavar="STARS", help="of ratings, suspect from (1.5)"
    )
    text = "an edited review.csv: write the training rows with its decisions, judge nothing"
    group.add_argument("--reviewed", metavar="FILE", help=text)


@exits_cleanly
def main(words: Sequence[str]) -> int:
    from sentiment_hf.enrich.label_errors import clean_labels

    log_to_stderr()
    parser = _Parser(add_help=False, allow_abbrev=False)
    _add_options(parser)
    clean_labels(*parser.parse_known_args(words))
    return 0
