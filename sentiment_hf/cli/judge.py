"""`sentiment-hf data judge`: ask a language model about labels that a classifier disagrees with."""

from __future__ import annotations

import argparse

from sentiment_hf.cli.common import add_column_options, add_config_option, add_model_options
from sentiment_hf.cli.llm_options import add_judging_options, add_llm_options
from sentiment_hf.utils.console import log_to_stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    add_model_options(parser)
    parser.add_argument("--data", required=True, metavar="FILE", help="labelled file")
    parser.add_argument("--output_dir", required=True, metavar="FOLDER", help="folder for verdicts.csv and judge.json")
    text = "judge rows whose label has a probability of at most 1 - SHARE; 0: all rows (default: 0.5)"
    parser.add_argument("--threshold", type=float, default=0.5, metavar="SHARE", help=text)
    parser.add_argument(
        "--limit", type=int, metavar="N", help="maximum number of rows to judge, the most doubtful first"
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=1,
        metavar="N",
        help="times each row is judged, with labels and examples in another order (default: 1)",
    )
    text = "examples of each label in the prompt, from rows that are not judged (default: 2)"
    parser.add_argument("--examples", type=int, default=2, metavar="N", help=text)
    parser.add_argument("--seed", type=int, default=42, help="random seed of the examples (default: 42)")
    add_judging_options(parser)
    add_llm_options(parser)
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.enrich.verdicts import judge_labels

    log_to_stderr()
    judge_labels(args)
    return 0
