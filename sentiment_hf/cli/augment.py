"""`sentiment-hf data augment`: more hard cases to learn from, written by a language model or by rule."""

from __future__ import annotations

import argparse

from sentiment_hf.cli.common import add_column_options, add_config_option
from sentiment_hf.cli.llm_options import add_judging_options, add_llm_options
from sentiment_hf.utils.console import log_to_stderr, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    parser.add_argument("--data", required=True, metavar="FILE", help="labelled training rows")
    parser.add_argument("--output_dir", required=True, metavar="FOLDER", help="for augmented.jsonl and parser.json")
    text = "files that are measured on: nothing that repeats one of their texts, or part of one, passes"
    parser.add_argument("--evaluation", nargs="+", required=True, metavar="FILE", help=text)
    parser.add_argument("--task", metavar="NAME", help="built-in task; default: the labels of the rows")
    text = "classifier that says which rows are ambiguous; its task counts"
    parser.add_argument("--model", metavar="PATH_OR_ID", help=text)
    text = "rows are ambiguous whose two likeliest labels are so close (0.4)"
    parser.add_argument("--ambiguity", type=float, default=0.4, metavar="SHARE", help=text)
    parser.add_argument("--rows", type=int, metavar="N", help="write for a sample of so many rows; default: all")
    parser.add_argument("--seed", type=int, default=42, help="of sample, rules and writing (42)")
    parser.add_argument("--weight", type=float, default=0.5, metavar="W", help="of a written row in training (0.5)")
    text = "irony, negation, contrast, comparison, implicit, reasons, or files; default with --llm: all"
    parser.add_argument("--templates", nargs="+", metavar="NAME", help=text)
    text = "without a language model: what is done to a row, one new row for each"
    rules = ("synonym", "delete", "swap", "homophone")
    parser.add_argument("--rules", nargs="+", choices=rules, default=[], help=text)
    group = parser.add_argument_group("filters")
    group.add_argument("--min_length", type=int, default=4, metavar="N", help="characters at least (4)")
    group.add_argument("--max_length", type=int, default=300, metavar="N", help="characters at most (300)")
    group.add_argument("--min_han", type=float, default=0.5, metavar="SHARE", help="Han among the letters (0.5)")
    text = "characters in common with an evaluation text that refuse a text (13)"
    group.add_argument("--shingle_length", type=int, default=13, metavar="N", help=text)
    text = (
        "agree: what the language model itself judges to have another label is refused (the default); off: nobody asks"
    )
    group.add_argument("--judge", choices=("agree", "off"), default="agree", help=text)
    group.add_argument("--examples", type=int, default=2, metavar="N", help="examples of each label for the judge (2)")
    add_judging_options(parser)
    add_llm_options(parser)
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.enrich.augmentation import augment

    log_to_stderr()
    show(augment(args))
    return 0
