"""`sentiment-hf compress bench`: speed and accuracy of every way to run a model."""

from __future__ import annotations

import argparse
import json

from sentiment_hf.cli.common import add_column_options
from sentiment_hf.utils.console import log_to_stderr, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="FOLDER", help="model folder with a checkpoint and onnx/")
    parser.add_argument("--data", required=True, metavar="FILE", help="labelled file whose texts are timed")
    text = "smaller models made from it (pruned, distilled); the INT8 file of each gets a row"
    parser.add_argument("--smaller", nargs="+", default=[], metavar="FOLDER", help=text)
    parser.add_argument(
        "--provider", choices=("cpu", "cuda", "tensorrt"), default="cpu", help="device for our systems (default: cpu)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of every system (default: all)")
    parser.add_argument(
        "--max_texts", type=int, default=400, metavar="N", help="number of texts to time; 0: all (default: 400)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="timing rounds, of which the median is reported (default: 5)"
    )
    parser.add_argument("--output_dir", metavar="FOLDER", help="folder for bench.json and accuracy_latency.png")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.benchmark.bench import bench
    from sentiment_hf.benchmark.measure import result_table

    log_to_stderr()
    result = bench(args)
    show(json.dumps(result, ensure_ascii=False, indent=1) if args.json else result_table(result))
    return 0
