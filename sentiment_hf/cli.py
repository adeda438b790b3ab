"""`sentiment-hf VERB`: dispatch and option parsing; everything heavy is imported inside the verbs."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn

from sentiment_hf.cli_options.config_file import check_config, with_config
from sentiment_hf.cli_options.data import add_data_verbs
from sentiment_hf.cli_options.enrich import add_enrich_verbs
from sentiment_hf.cli_options.models import add_model_verbs
from sentiment_hf.cli_options.publishing import add_publishing_verbs
from sentiment_hf.cli_options.recipes import add_recipe_verbs
from sentiment_hf.cli_options.services import add_service_verbs
from sentiment_hf.cli_options.studies import add_study_verbs
from sentiment_hf.exceptions import EXIT_STATUS, exits_cleanly

# Verbs whose options are recipe keys, and the module whose `main` takes them.
RECIPE_VERBS = {
    "run": "sentiment_hf.job",
    "train": "sentiment_hf.training.run",
    "baseline": "sentiment_hf.verbs.baseline",
    "distill": "sentiment_hf.distillation.run",
    "ablate": "sentiment_hf.verbs.ablate",
    "clean": "sentiment_hf.verbs.clean",
}

# Verbs that take texts as words.
TEXT_VERBS = ("predict", "explain")

# Verbs with many options, which a file may hold.
CONFIG_VERBS = ("judge", "augment")


class _Parser(argparse.ArgumentParser):
    """argparse that answers a wrong option in one line instead of a page."""

    words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.words = list(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            nearest = _did_you_mean(wrong[1], re.findall(r"[\w.-]+", wrong[2]))
            if nearest and message.startswith("argument VERB"):
                # Of two dozen verbs the nearest says more than all of them.
                message = message.partition(" (choose from")[0]
            message += nearest
        if "are required" in message:
            # The one that is missing may be there, misspelled.
            known = re.findall(r"--\w+", self.format_help())
            given = [word.partition("=")[0] for word in self.words if word.startswith("--") and word.isascii()]
            message += next((_did_you_mean(word, known) for word in given if word not in known), "")
        sys.stderr.write(f"error: {message}{'' if message.endswith('?') else '.'} See: {self.prog} --help\n")
        sys.exit(EXIT_STATUS)


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `sentiment-hf` command."""
    words = list(sys.argv[1:] if argv is None else argv)
    # A recipe's keys are parsed by the recipe's own parser, which knows hundreds of them.
    options = words[: words.index("--")] if "--" in words else words
    if words and words[0] in RECIPE_VERBS and not {"-h", "--help"} & set(options):
        status: int = import_module(RECIPE_VERBS[words[0]]).main(words[1:])
        return status
    return _run_verb(with_underscores(words))


def with_underscores(words: Sequence[str]) -> list[str]:
    """Options in the form in which they are declared: `--min-count` is `--min_count`, as for a recipe's keys.

    Words after a lone `--` are texts and stay as they are.
    """
    end = words.index("--") if "--" in words else len(words)
    options = []
    for word in words[:end]:
        name, equals, value = word.partition("=")
        options.append(name[:2] + name[2:].replace("-", "_") + equals + value if word.startswith("--") else word)
    return [*options, *words[end:]]


@exits_cleanly
def _run_verb(words: list[str]) -> int:
    parser = _build_parser()
    keys: dict[str, Any] = {}
    if words and words[0] in CONFIG_VERBS:
        words, keys = with_config(words)
    args, unknown = parser.parse_known_args(words)
    known = re.findall(r"--\w+", vars(args).pop("format_help")())
    # A key of the file is told with the one that was meant.
    check_config(keys, args)
    if unknown:
        wrong = next((word for word in unknown if word.startswith("--")), unknown[0]).partition("=")[0]
        remedy = _did_you_mean(wrong, known) if wrong.isascii() else ""
        if args.verb in TEXT_VERBS and not remedy:
            remedy = f"; a text that begins with - stands after --: sentiment-hf {args.verb} -- '{unknown[0]}'"
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{remedy}")
    status: int = import_module(f"sentiment_hf.verbs.{args.verb}").run(args)
    return status


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sentiment-hf", description="Small, fast classifiers for Chinese text.")
    parser.add_argument("--version", action="version", version=f"sentiment_hf {version('sentiment_hf')}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=_Parser)
    for add_verbs in (
        add_recipe_verbs,
        add_data_verbs,
        add_model_verbs,
        add_study_verbs,
        add_service_verbs,
        add_enrich_verbs,
        add_publishing_verbs,
    ):
        add_verbs(verbs)
    for name, verb in verbs.choices.items():
        # The help for the nearest of its options, where one is misspelled.
        verb.set_defaults(verb=name, format_help=verb.format_help)
    return parser


if __name__ == "__main__":
    sys.exit(main())
