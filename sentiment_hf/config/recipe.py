"""Read recipe files, check their keys, turn them into command-line arguments, and describe the keys in help."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from sentiment_hf.config.training_options import FINE_TUNING_PARTS
from sentiment_hf.config.values import load_yaml, wide_colon
from sentiment_hf.utils.exceptions import InputError


def read_recipe(path: str | Path, known: Iterable[str] | None) -> dict[str, Any]:
    """Read the keys of a recipe file; `known` are those that it may have, None for any.

    Raises:
        InputError: no such file, not a YAML mapping, or a key that is not in `known`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"a recipe at {path}", "nothing there", "Check the path.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        keys = load_yaml(text)
    except ValueError as error:
        raise InputError(f"YAML in {path}", str(error), "Fix the file there.") from None
    if not isinstance(keys, dict):
        found = f"{type(keys).__name__}{wide_colon(text)}"
        raise InputError(f"`key: value` lines in {path}", found, "Look at recipes/reviews for examples.")
    if known is not None:
        check_known(keys, known, str(path))
    return keys


def check_known(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise InputError for the first key that is not in `known`, naming the nearest that is."""
    known = sorted(known)
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            found = f"unknown key {key!r}{wide_colon(str(key))}"
            raise InputError(f"recipe keys in {where}", found, f"The nearest known key is {near!r}.")


def as_command_line(keys: dict[str, Any]) -> list[str]:
    """Recipe keys as command-line words, so that both go through the same conversion and checks.

    A null leaves the default in place.
    """
    words = []
    for name, value in keys.items():
        if value is None:
            continue
        words.append(f"--{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return words


class _HelpOnAll(argparse.Action):
    """Print the help with the options that the ordinary help leaves out."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        for action in parser._actions:
            action.help = self.const.get(action.dest, action.help)
        parser.print_help()
        parser.exit()


def add_recipe_options(
    parser: argparse.ArgumentParser, parts: Iterable[Any] = FINE_TUNING_PARTS, shown: Collection[str] | None = None
) -> None:
    """Describe the project's own keys in a parser's help; `sentiment_hf.training.arguments` does the parsing.

    Args:
        parser: gets an option for each key.
        parts: dataclasses whose fields are the keys.
        shown: keys that the help shows; the others stand in that of `--help_all`. None for all.
    """
    parser.add_argument("--config", metavar="RECIPE.yaml", help="recipe file")
    hidden: dict[str, str] = {}
    if shown is not None:
        text = "show all options; this help lists only the common ones"
        parser.add_argument("--help_all", action=_HelpOnAll, nargs=0, const=hidden, help=text)
    for part in parts:
        group = parser.add_argument_group(re.split(r"[.:]", part.__doc__ or "")[0])
        for item in dataclasses.fields(part):
            default = "" if item.default is None else f" (default: {item.default})"
            text = (item.metadata["help"] + default).replace("%", "%%")
            if shown is not None and item.name not in shown:
                hidden[item.name], text = text, argparse.SUPPRESS
            group.add_argument(f"--{item.name}", metavar="…", help=text)
