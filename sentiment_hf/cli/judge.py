"""`sentiment-hf data judge`: a language model's verdict on labels that a classifier disagrees with."""

from __future__ import annotations

import argparse

from sentiment_hf.cli.common import add_column_options, add_config_option, add_model_options
from sentiment_hf.cli.llm_options import add_judging_options, add_llm_options
from sentiment_hf.utils.console import log_to_stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    add_model_options(parser)
    parser.add_argument("--data", required=True, metavar="FILE", help="labelled file")
    parser.add_argument("--output_dir", required=True, metavar="FOLDER", help="for verdicts.csv and parser.json")
    text = "judge rows to whose label the classifier gives 1 less this or less (0.5); 0 judges all"
    parser.add_argument("--threshold", type=float, default=0.5, metavar="SHARE", help=text)
    parser.add_argument("--limit", type=int, metavar="N", help="judge so many at most, the most doubtful first")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="ask so often, in other orders (1)")
    text = "examples of each label in the prompt, from rows that are not judged (2)"
    parser.add_argument("--examples", type=int, default=2, metavar="N", help=text)
    parser.add_argument("--seed", type=int, default=42, help="draws the examples (42)")
    add_judging_options(parser)
    add_llm_options(parser)
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.enrich.verdicts import judge_labels

    log_to_stderr()
    judge_labels(args)
    return 0
