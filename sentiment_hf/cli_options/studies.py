"""Verbs that say what a model does and why."""

from __future__ import annotations

import argparse
from typing import Any

from sentiment_hf.cli_options.common import add_column_options, add_model_options


def add_study_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "where a model is wrong: confusions, slices, surest mistakes, as a page with a picture and csv files"
    errors = verbs.add_parser("errors", help=text, description=text)
    add_model_options(errors)
    errors.add_argument("--data", required=True, metavar="FILE", help="labelled file")
    errors.add_argument("--output_dir", required=True, metavar="FOLDER", help="for errors.md and what belongs to it")
    errors.add_argument("--category", metavar="COLUMN", help="a column whose values are slices, too")
    errors.add_argument(
        "--top_k", type=int, default=10, metavar="K", help="confusions and mistakes that are shown (10)"
    )
    errors.add_argument("--examples", type=int, default=3, metavar="N", help="texts for each confusion (3)")
    add_column_options(errors)
    errors.set_defaults(verb="errors")

    text = "probabilities that mean what they say, and a threshold below which no label is given; kept in the config"
    calibrate = verbs.add_parser("calibrate", help=text, description=text)
    add_model_options(calibrate)
    calibrate.add_argument("--data", metavar="FILE", help="labelled rows to fit on; default: dev as saved with the run")
    calibrate.add_argument("--test", metavar="FILE", help="rows to judge it by; default: test as saved with the run")
    text = "choose the threshold above which so large a share of the answers is right, for example 0.95"
    calibrate.add_argument("--precision", type=float, metavar="SHARE", help=text)
    add_column_options(calibrate)
    calibrate.set_defaults(verb="calibrate")
