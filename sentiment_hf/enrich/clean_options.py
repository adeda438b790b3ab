"""What `sentiment-hf clean` takes besides the keys of a recipe; imports nothing heavy."""

from __future__ import annotations

import argparse


def add_clean_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `clean` has besides the keys of a recipe."""
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
