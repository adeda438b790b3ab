"""`sentiment-hf data augment`: write hard training examples with a language model or by rule."""

from __future__ import annotations

import argparse

from sentiment_hf.cli.common import add_column_options, add_config_option
from sentiment_hf.cli.llm_options import add_judging_options, add_llm_options
from sentiment_hf.utils.console import log_to_stderr, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    parser.add_argument("--data", required=True, metavar="FILE", help="labelled training rows")
    parser.add_argument(
        "--output_dir", required=True, metavar="FOLDER", help="folder for augmented.jsonl and augment.json"
    )
    text = "evaluation files; new texts that overlap with theirs are refused"
    parser.add_argument("--evaluation", nargs="+", required=True, metavar="FILE", help=text)
    parser.add_argument("--task", metavar="NAME", help="built-in task (default: taken from the labels of the rows)")
    text = "classifier that finds ambiguous rows; its task is used"
    parser.add_argument("--model", metavar="PATH_OR_ID", help=text)
    text = "a row is ambiguous if its two highest probabilities differ by at most this (default: 0.4)"
    parser.add_argument("--ambiguity", type=float, default=0.4, metavar="SHARE", help=text)
    parser.add_argument("--rows", type=int, metavar="N", help="use a random sample of this many rows (default: all)")
    parser.add_argument(
        "--seed", type=int, default=42, help="random seed of sampling, rules and generation (default: 42)"
    )
    parser.add_argument(
        "--weight", type=float, default=0.5, metavar="W", help="training weight of a new row (default: 0.5)"
    )
    text = "irony, negation, contrast, comparison, implicit, reasons, or template files (default with --llm: all)"
    parser.add_argument("--templates", nargs="+", metavar="NAME", help=text)
    text = "without a language model: rules to apply, each giving one new row per row"
    rules = ("synonym", "delete", "swap", "homophone")
    parser.add_argument("--rules", nargs="+", choices=rules, default=[], help=text)
    group = parser.add_argument_group("filters")
    group.add_argument(
        "--min_length", type=int, default=4, metavar="N", help="minimum number of characters (default: 4)"
    )
    group.add_argument(
        "--max_length", type=int, default=300, metavar="N", help="maximum number of characters (default: 300)"
    )
    group.add_argument(
        "--min_han",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="minimum share of Han characters among the letters (default: 0.5)",
    )
    text = "refuse a text that shares this many characters in a row with an evaluation text (default: 13)"
    group.add_argument("--shingle_length", type=int, default=13, metavar="N", help=text)
    text = "agree: refuse texts to which the language model gives another label; off: no check (default: agree)"
    group.add_argument("--judge", choices=("agree", "off"), default="agree", help=text)
    group.add_argument(
        "--examples", type=int, default=2, metavar="N", help="examples of each label in the judge's prompt (default: 2)"
    )
    add_judging_options(parser)
    add_llm_options(parser)
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.enrich.augmentation import augment

    log_to_stderr()
    show(augment(args))
    return 0
