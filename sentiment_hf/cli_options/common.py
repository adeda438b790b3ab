"""Options that several verbs share."""

from __future__ import annotations

import argparse

from sentiment_hf.option_values import BACKENDS, LABEL_VALUES


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
