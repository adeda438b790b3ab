"""`--config FILE` of a verb whose options are no recipe keys: the file has the defaults, the command line wins."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sentiment_hf.recipe import check_known, read_recipe

OPTION = "--config"


def add_config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(OPTION, metavar="FILE.yaml", help="file of these options' values; the command line wins")


def with_config(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Put the words of a verb's file before its own; return all of them and what the file says.

    Raises:
        InputError: no such file, or no mapping in it.
    """
    files = [word.removeprefix(f"{OPTION}=") for word in words if word.startswith(f"{OPTION}=")]
    files += [after for word, after in pairwise(words) if word == OPTION]
    if not files:
        return list(words), {}
    keys = read_recipe(files[-1], known=None)
    return [words[0], *_as_words(keys), *words[1:]], keys


def check_config(keys: dict[str, Any], args: argparse.Namespace) -> None:
    """Raise InputError for a key of the file that is no option of the verb."""
    if keys:
        known = set(vars(args)) - {"verb", OPTION.strip("-")}
        check_known(keys, known, str(Path(args.config)))


def _as_words(keys: dict[str, Any]) -> list[str]:
    """Values as argparse takes them: a list as several words, a switch by its name alone; a null is the default."""
    words = []
    for name, value in keys.items():
        if value is None or value is False:
            continue
        if isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        elif value is True:
            words.append(f"--{name}")
        else:
            words.append(f"--{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return words
