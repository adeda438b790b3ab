"""`sentiment-hf prune`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sentiment_hf.compression.vocabulary import prune_vocabulary
from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.sources import load_texts
from sentiment_hf.exceptions import InputError


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    if not args.vocabulary:
        raise InputError("what to prune", "nothing", "Give --vocabulary.")
    corpus: list[Any] = [text for source in args.corpus for text in load_texts(source)]
    second: list[Any] = [text for source in args.second_corpus or () for text in load_texts(source)]
    report = prune_vocabulary(args.model, corpus, Path(args.output_dir), args.min_count, args.han_rank, second)
    before, after = report["before"], report["after"]
    show(f"pieces: {before['pieces']:,} -> {after['pieces']:,}")
    show(f"parameters: {before['parameters']:,} -> {after['parameters']:,} ({after['size_mb']:.1f} MB)")
    for which, share in report["coverage"].items():
        name = which.replace("_", " ")
        show(f"{name}: {share['whole']:.2%} of {share['texts']:,} texts and {share['pieces']:.3%} of pieces as before")
    show(f"Written to {args.output_dir}; next: sentiment-hf export --model {args.output_dir} --quantize dynamic")
    return 0
