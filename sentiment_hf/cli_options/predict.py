"""Options of `sentiment-hf predict`."""

from __future__ import annotations

import argparse
from typing import Any

from sentiment_hf.cli_options.common import add_format_options, add_model_options


def add_predict(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "classify texts, a file of any size, or what you type"
    predict = verbs.add_parser("predict", help=text, description=text)
    add_model_options(predict, required=False)
    predict.add_argument("texts", nargs="*", metavar="TEXT", help="none and no --file: an interactive prompt")
    predict.add_argument(
        "--file", metavar="FILE", help="csv, tsv, json, jsonl, parquet or xlsx, also .gz; a .txt is one document"
    )
    text = (
        "file for the answers to --file: csv, tsv, jsonl (each also .gz), parquet or xlsx; with --num_shards a folder"
    )
    predict.add_argument("--output", metavar="PATH", help=text)
    predict.add_argument("--text_column", metavar="NAME")
    add_format_options(predict)
    predict.add_argument("--top_k", type=int, default=3, metavar="K", help="labels listed under top (3)")
    text = "of a model with sliding windows: chunks that speak most for the label (0)"
    predict.add_argument("--top_chunks", type=int, default=0, metavar="M", help=text)
    predict.add_argument("--json", action="store_true", help="one JSON object a line: text, label, probability, top")

    text = "answers in N files, by one process or several; started again, it writes the ones that are missing"
    parts = predict.add_argument_group("parts", text)
    parts.add_argument("--num_shards", type=int, metavar="N", help="parts; several times as many as processes")
    text = "write these parts, from 0; default: under accelerate launch those of the process, else all"
    parts.add_argument("--shard_index", type=int, nargs="+", metavar="I", help=text)
    kinds = ("jsonl", "csv", "tsv", "parquet", "jsonl.gz", "csv.gz", "tsv.gz")
    parts.add_argument("--part_kind", choices=kinds, default="jsonl", help="of the parts (jsonl)")
    text = "what runs the parts: this process and those of accelerate launch (local), or Ray Data (ray)"
    parts.add_argument("--engine", choices=("local", "ray"), default="local", help=text)
    text = "with --engine ray: classifiers at work at a time; default: one a processor of the cluster"
    parts.add_argument("--num_actors", type=int, metavar="N", help=text)
    predict.set_defaults(verb="predict")
