"""Options that several verbs share, and `--config FILE` of a verb whose options are no recipe keys."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sentiment_hf.config.recipe import check_known, read_recipe
from sentiment_hf.config.values import BACKENDS, LABEL_VALUES

# The file has the defaults, the command line wins.
OPTION = "--config"


def add_model_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    text = None if required else "default: the classifier of reviews that comes with the package"
    parser.add_argument("--model", required=required, metavar="PATH_OR_ID", help=text)
    text = "which file runs; auto (the default): the first of torch, int8 and onnx that the model has"
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help=text)
    parser.add_argument("--provider", choices=("cpu", "cuda", "tensorrt"), default="cpu", help="where it runs (cpu)")


def add_column_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text_column", metavar="NAME", help="default: the first with a usual name")
    parser.add_argument("--label_column", metavar="NAME", help="default: the first with a usual name")
    text = (
        "what labels of this file mean, {raw value: label name, or null to leave rows out}; default: as the model knows"
    )
    parser.add_argument("--labels", metavar="YAML", help=text)
    text = "how labels are read where both are possible: as raw values or as names"
    parser.add_argument("--label_values", choices=LABEL_VALUES, default="auto", help=text)
    add_format_options(parser)


def add_format_options(parser: argparse.ArgumentParser) -> None:
    text = "auto (the default), utf-8, gb18030, big5 or another of Python's codecs"
    parser.add_argument("--encoding", default="auto", metavar="NAME", help=text)
    text = "between the cells of a csv, tsv or txt, tab or _!_ for example; default: found in the file"
    parser.add_argument("--separator", metavar="TEXT", help=text)
    text = "of a table whose first line is no header: text,label"
    parser.add_argument("--column_names", metavar="NAMES", help=text)


def add_config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(OPTION, metavar="FILE.yaml", help="file of these options' values; the command line wins")


def with_config(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Put the words of a verb's file (`data judge`) before its own; return all of them and what the file says.

    Raises:
        InputError: no such file, or no mapping in it.
    """
    files = [word.removeprefix(f"{OPTION}=") for word in words if word.startswith(f"{OPTION}=")]
    files += [after for word, after in pairwise(words) if word == OPTION]
    if not files:
        return list(words), {}
    keys = read_recipe(files[-1], known=None)
    return [*words[:2], *_as_words(keys), *words[2:]], keys


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
