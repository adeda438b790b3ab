"""`sentiment-hf VERB`: the list of verbs, the parser, and its error messages."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn

from sentiment_hf.cli.common import check_config, with_config
from sentiment_hf.utils.exceptions import EXIT_STATUS, exits_cleanly

# In the order in which people work: title -> verb -> what it does. `sentiment_hf.cli.VERB` has parser and `run`.
VERBS = {
    "Train and use": {
        "train": "train on a labelled file: baseline, model, ONNX and INT8",
        "predict": "classify texts, a file of any size, or what you type",
        "evaluate": "score a model on a labelled file: errors, comparison, calibration",
        "explain": "show which words of a text support or oppose a label",
    },
    "Look at data": {
        "data audit": "report repeats, contradictions, leakage, balance and lengths",
        "data clean": "find label errors by confident learning",
        "data judge": "ask a language model about doubtful labels",
        "data augment": "write more hard cases to learn from",
    },
    "Make it small and fast": {
        "compress export": "write ONNX files, FP32 and INT8 behind the quality gate",
        "compress prune": "remove unused tokens, or make the layers smaller",
        "compress distill": "distill a large encoder into a small one",
        "compress bench": "measure speed and accuracy of every way to run a model",
    },
    "Compare many runs": {
        "sweep run": "run variants of a recipe over seeds; resumes where it stopped",
        "sweep report": "write a page with the results of a sweep or of several runs",
    },
    "Publish and serve": {
        "push": "publish a finished run on the Hub, with its model card",
        "serve": "serve a model over HTTP",
        "demo": "open a page to try models",
    },
}
ALL_VERBS = {verb: text for verbs in VERBS.values() for verb, text in verbs.items()}
EXAMPLES = """\
examples:
  sentiment-hf train reviews.csv
  sentiment-hf predict --model runs/reviews 这个电影太好看了！
  sentiment-hf evaluate --model runs/reviews --data test.csv --errors
  sentiment-hf compress export --model runs/reviews --quantize dynamic

`sentiment-hf VERB --help` lists the options of a verb.
"""
# Verbs whose options are recipe keys, which the recipe's own parser knows; `main` of the module takes the words.
RECIPE_VERBS = ("train", "data clean", "compress distill", "sweep run")
# Verbs that take texts as words.
TEXT_VERBS = ("predict", "explain")
# Verbs with many options, which a file may hold.
CONFIG_VERBS = ("data judge", "data augment")


class _Parser(argparse.ArgumentParser):
    """argparse that responds to a wrong option with one line instead of a page."""

    words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.words = list(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            known = re.findall(r"[\w.-]+", wrong[2])
            is_verb = message.startswith("argument VERB")
            if is_verb and " " not in self.prog:
                # Somebody who types `export` means `compress export`.
                full = {verb.split()[-1]: verb for verb in ALL_VERBS} | {word: word for word in known}
                nearest = f"; did you mean {full[near[0]]}?" if (near := _nearest(wrong[1], full)) else ""
            else:
                nearest = _did_you_mean(wrong[1], known)
            if nearest and is_verb:
                # The nearest verb is more useful than the list of all.
                message = message.partition(" (choose from")[0]
            message += nearest
        if "are required" in message:
            # The one that is missing may be there, misspelled.
            known = re.findall(r"--\w+", self.format_help())
            given = [word.partition("=")[0] for word in self.words if word.startswith("--") and word.isascii()]
            message += next((_did_you_mean(word, known) for word in given if word not in known), "")
        sys.stderr.write(f"error: {message}{'' if message.endswith('?') else '.'} See: {self.prog} --help\n")
        sys.exit(EXIT_STATUS)


class _GroupedHelp(argparse.RawDescriptionHelpFormatter):
    """Leave out argparse's list of verbs: the description has them in groups."""

    def add_argument(self, action: argparse.Action) -> None:
        if not isinstance(action, argparse._SubParsersAction):
            super().add_argument(action)


class _PrintCompletion(argparse.Action):
    """Print a shell's completion script, made by shtab."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, values: Any, option_string: str | None = None) -> None:
        import shtab

        sys.stdout.write(shtab.complete(parser, values) + "\n")
        parser.exit()


def _nearest(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word, list(known), 1)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    nearest = _nearest(word, known)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `sentiment-hf` command."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["audit"]:
        # The check that comes before a training is also a verb of its own.
        words = ["data", *words]
    # A recipe's keys are parsed by the recipe's own parser, which knows hundreds of them.
    options = words[: words.index("--")] if "--" in words else words
    asks_help = {"-h", "--help", "--help_all", "--help-all"} & set(options)
    verb = next((verb for verb in RECIPE_VERBS if words[: verb.count(" ") + 1] == verb.split()), None)
    if verb is not None and not asks_help:
        status: int = import_module(_module_of(verb)).main(words[verb.count(" ") + 1 :])
        return status
    return _run_verb(with_underscores(words))


def _module_of(verb: str) -> str:
    """Name the module of a verb: `data audit` is in `audit`, `sweep run` in `sweep_run`."""
    group, _, name = verb.rpartition(" ")
    return f"sentiment_hf.cli.{group}_{name}" if group == "sweep" else f"sentiment_hf.cli.{name}"


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
    parser = build_parser()
    keys: dict[str, Any] = {}
    if " ".join(words[:2]) in CONFIG_VERBS:
        words, keys = with_config(words)
    args, unknown = parser.parse_known_args(words)
    known = re.findall(r"--\w+", vars(args).pop("format_help")())
    # An unknown key of the file is reported with the nearest known one.
    check_config(keys, args)
    if unknown:
        wrong = next((word for word in unknown if word.startswith("--")), unknown[0]).partition("=")[0]
        remedy = _did_you_mean(wrong, known) if wrong.isascii() else ""
        if args.verb in TEXT_VERBS and not remedy:
            remedy = f"; a text that begins with - stands after --: sentiment-hf {args.verb} -- '{unknown[0]}'"
        _Parser(prog=f"{parser.prog} {args.verb}").error(f"unrecognized arguments: {' '.join(unknown)}{remedy}")
    status: int = import_module(_module_of(args.verb)).run(args)
    return status


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs."""
    lines = []
    for title, named in VERBS.items():
        lines += [title, *(f"  {verb:<18}{text}" for verb, text in named.items())]
    parser = _Parser(
        prog="sentiment-hf",
        usage="sentiment-hf VERB …",
        description="\n".join(["Small, fast classifiers for Chinese text.", "", *lines]),
        epilog=EXAMPLES,
        formatter_class=_GroupedHelp,
    )
    parser.add_argument("--version", action="version", version=f"sentiment_hf {version('sentiment_hf')}")
    shells = ("bash", "zsh")
    text = "print a completion script for bash or zsh"
    parser.add_argument("--print_completion", action=_PrintCompletion, choices=shells, metavar="SHELL", help=text)
    verbs = parser.add_subparsers(prog=parser.prog, metavar="VERB", required=True, parser_class=_Parser)
    inside: dict[str, argparse._SubParsersAction[_Parser]] = {}
    for title, named in VERBS.items():
        for path, text in named.items():
            group, _, name = path.rpartition(" ")
            if group and group not in inside:
                described = f"{title}: {', '.join(verb.split()[1] for verb in named)}."
                verb = verbs.add_parser(group, help=described, description=described)
                inside[group] = verb.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=_Parser)
            _add_verb(inside.get(group, verbs), path, name, text)
    return parser


def _add_verb(verbs: argparse._SubParsersAction[_Parser], path: str, name: str, text: str) -> None:
    # A verb with recipe keys may mean something else by one of them, such as its folder.
    conflicts = "resolve" if path in RECIPE_VERBS else "error"
    verb = verbs.add_parser(name, help=text, conflict_handler=conflicts)
    verb.description = f"{text[0].upper()}{text[1:]}."
    import_module(_module_of(path)).add_arguments(verb)
    # The help for the nearest of its options, where one is misspelled.
    verb.set_defaults(verb=path, format_help=verb.format_help)


if __name__ == "__main__":
    sys.exit(main())
