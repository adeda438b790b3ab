"""`sentiment-hf compress bench`: speed and accuracy of every way to run a model."""

from __future__ import annotations

import argparse
import json

from sentiment_hf.cli.common import add_column_options
from sentiment_hf.utils.console import log_to_stderr, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="FOLDER", help="with its checkpoint and onnx/")
    parser.add_argument("--data", required=True, metavar="FILE", help="labelled file; its texts are what is timed")
    text = "smaller models made of it (pruned, distilled), whose INT8 files get a row each"
    parser.add_argument("--smaller", nargs="+", default=[], metavar="FOLDER", help=text)
    parser.add_argument("--provider", choices=("cpu", "cuda", "tensorrt"), default="cpu", help="of our rows (cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads of every row (all)")
    parser.add_argument("--max_texts", type=int, default=400, metavar="N", help="texts that are timed; 0: all (400)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of which the median counts (5)")
    parser.add_argument("--output_dir", metavar="FOLDER", help="for parser.json and accuracy_latency.png")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.benchmark.bench import bench
    from sentiment_hf.benchmark.measure import result_table

    log_to_stderr()
    result = bench(args)
    show(json.dumps(result, ensure_ascii=False, indent=1) if args.json else result_table(result))
    return 0
