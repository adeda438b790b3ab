"""Options that several verbs share, and `--config FILE` for verbs whose options are not recipe keys."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sentiment_hf.config.recipe import check_known, read_recipe
from sentiment_hf.config.values import BACKENDS, LABEL_VALUES

# The file sets defaults; the command line overrides them.
OPTION = "--config"


def add_model_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    default = "" if required else " (default: the review classifier included in the package)"
    parser.add_argument("--model", required=required, metavar="PATH_OR_ID", help=f"model folder or Hub id{default}")
    text = "runtime and model file; auto uses the first of torch, int8 and onnx that the model has (default: auto)"
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help=text)
    parser.add_argument("--provider", choices=("cpu", "cuda", "tensorrt"), default="cpu", help="device (default: cpu)")


def add_column_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text_column", metavar="NAME", help="column with the text (default: the first with a common name)"
    )
    parser.add_argument(
        "--label_column", metavar="NAME", help="column with the label (default: the first with a common name)"
    )
    text = "label names of this file, {raw value: name, or null to skip the rows} (default: those saved with the model)"
    parser.add_argument("--labels", metavar="YAML", help=text)
    text = "read labels as raw values or as names where both are possible (default: auto)"
    parser.add_argument("--label_values", choices=LABEL_VALUES, default="auto", help=text)
    add_format_options(parser)


def add_format_options(parser: argparse.ArgumentParser) -> None:
    text = "auto, utf-8, gb18030, big5 or another Python codec (default: auto)"
    parser.add_argument("--encoding", default="auto", metavar="NAME", help=text)
    text = "cell separator of a csv, tsv or txt file, such as tab or _!_ (default: detected)"
    parser.add_argument("--separator", metavar="TEXT", help=text)
    text = "column names of a table without a header line, such as text,label"
    parser.add_argument("--column_names", metavar="NAMES", help=text)


def add_config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        OPTION, metavar="FILE.yaml", help="YAML file with values for these options; the command line overrides it"
    )


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
