"""Verbs that make labels better."""

from __future__ import annotations

import argparse
from typing import Any

from sentiment_hf.cli_options.common import add_column_options, add_model_options
from sentiment_hf.cli_options.config_file import add_config_option
from sentiment_hf.enrich.clean_options import add_clean_options


def add_enrich_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    from sentiment_hf.recipe import add_recipe_options

    text = "find label errors by confident learning, and drop them, correct them or write them down for review"
    epilog = "A recipe says which rows and, without --fast, how a model is trained on them."
    clean = verbs.add_parser("clean", help=text, description=text, epilog=epilog, conflict_handler="resolve")
    add_recipe_options(clean)
    add_clean_options(clean)
    _add_judge(verbs)
    _add_augment(verbs)


def _add_judge(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "a language model's verdict on labels that a classifier disagrees with, and how far it agrees with whom"
    judge = verbs.add_parser("judge", help=text, description=text)
    add_config_option(judge)
    add_model_options(judge)
    judge.add_argument("--data", required=True, metavar="FILE", help="labelled file")
    judge.add_argument("--output_dir", required=True, metavar="FOLDER", help="for verdicts.csv and judge.json")
    text = "judge rows to whose label the classifier gives 1 less this or less (0.5); 0 judges all"
    judge.add_argument("--threshold", type=float, default=0.5, metavar="SHARE", help=text)
    judge.add_argument("--limit", type=int, metavar="N", help="judge so many at most, the most doubtful first")
    judge.add_argument("--repeats", type=int, default=1, metavar="N", help="ask so often, in other orders (1)")
    text = "examples of each label in the prompt, from rows that are not judged (2)"
    judge.add_argument("--examples", type=int, default=2, metavar="N", help=text)
    judge.add_argument("--seed", type=int, default=42, help="draws the examples (42)")
    add_judging_options(judge)
    add_llm_options(judge)
    add_column_options(judge)
    judge.set_defaults(verb="judge")


def _add_augment(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "more hard cases to learn from: irony, negation, contrast and others, written by a language model or by rule"
    augment = verbs.add_parser("augment", help=text, description=text)
    add_config_option(augment)
    augment.add_argument("--data", required=True, metavar="FILE", help="labelled training rows")
    augment.add_argument("--output_dir", required=True, metavar="FOLDER", help="for augmented.jsonl and augment.json")
    text = "files that are measured on: nothing that repeats one of their texts, or part of one, passes"
    augment.add_argument("--evaluation", nargs="+", required=True, metavar="FILE", help=text)
    augment.add_argument("--task", metavar="NAME", help="built-in task; default: the labels of the rows")
    text = "classifier that says which rows are ambiguous; its task counts"
    augment.add_argument("--model", metavar="PATH_OR_ID", help=text)
    text = "rows are ambiguous whose two likeliest labels are so close (0.4)"
    augment.add_argument("--ambiguity", type=float, default=0.4, metavar="SHARE", help=text)
    augment.add_argument("--rows", type=int, metavar="N", help="write for a sample of so many rows; default: all")
    augment.add_argument("--seed", type=int, default=42, help="of sample, rules and writing (42)")
    augment.add_argument("--weight", type=float, default=0.5, metavar="W", help="of a written row in training (0.5)")
    text = "irony, negation, contrast, comparison, implicit, reasons, or files; default with --llm: all"
    augment.add_argument("--templates", nargs="+", metavar="NAME", help=text)
    text = "without a language model: what is done to a row, one new row for each"
    rules = ("synonym", "delete", "swap", "homophone")
    augment.add_argument("--rules", nargs="+", choices=rules, default=[], help=text)
    group = augment.add_argument_group("filters")
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
    add_judging_options(augment)
    add_llm_options(augment)
    add_column_options(augment)
    augment.set_defaults(verb="augment")


def add_judging_options(parser: argparse.ArgumentParser) -> None:
    text = "{label: its word in the prompt}; default: Chinese words for the built-in tasks, else the names"
    parser.add_argument("--label_words", metavar="YAML", help=text)
    text = "Jinja file with the variables labels, examples and text; default: the one that comes with the package"
    parser.add_argument("--prompt", metavar="FILE", help=text)


def add_llm_options(parser: argparse.ArgumentParser) -> None:
    """Which language model, and how it is asked."""
    group = parser.add_argument_group("language model")
    text = "Hub id, folder or .gguf file of a causal model; with --base_url the endpoint's name for it"
    group.add_argument("--llm", metavar="MODEL", help=text)
    text = "a local model's weights in 4 bits as they are loaded (bitsandbytes), which a GPU wants"
    group.add_argument("--load_in_4bit", action="store_true", help=text)
    group.add_argument("--base_url", metavar="URL", help="OpenAI-compatible endpoint, such as http://localhost:8000/v1")
    text = "environment variable with the endpoint's key (OPENAI_API_KEY)"
    group.add_argument("--api_key_variable", default="OPENAI_API_KEY", metavar="NAME", help=text)
    text = "requests under way at a time, or texts that a local model writes together (8)"
    group.add_argument("--concurrency", type=int, default=8, metavar="N", help=text)
    group.add_argument("--requests_per_minute", type=float, metavar="N", help="at most; default: no limit")
    group.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="for one answer (60)")
    group.add_argument("--retries", type=int, default=4, metavar="N", help="after 429, 5xx and silence (4)")
    text = "price of a million tokens read and written, for the bill"
    group.add_argument("--prices", type=float, nargs=2, metavar=("READ", "WRITTEN"), help=text)
    text = "file of answers, of which none is asked for again; default: replies.jsonl in the output folder"
    group.add_argument("--cache", metavar="FILE", help=text)
