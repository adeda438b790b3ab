"""Verbs that say what a model does and why."""

from __future__ import annotations

import argparse
from typing import Any

from sentiment_hf.cli_options.common import add_column_options, add_model_options
from sentiment_hf.option_values import BACKENDS, EXPLANATIONS


def add_study_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "where a model is wrong: confusions, slices, surest mistakes, as a page with a picture and csv files"
    errors = verbs.add_parser("errors", help=text, description=text)
    add_model_options(errors)
    errors.add_argument("--data", required=True, metavar="FILE", help="labelled file")
    errors.add_argument("--output_dir", required=True, metavar="FOLDER", help="for errors.md and what belongs to it")
    errors.add_argument("--category", metavar="COLUMN", help="a column whose values are slices, too")
    errors.add_argument(
        "--top_k", type=int, default=10, metavar="K", help="confusions and mistakes that are shown (10)"
    )
    errors.add_argument("--examples", type=int, default=3, metavar="N", help="texts for each confusion (3)")
    add_column_options(errors)
    errors.set_defaults(verb="errors")

    text = "temperature scaling, and an abstention threshold below which no label is given; saved in the config"
    calibrate = verbs.add_parser("calibrate", help=text, description=text)
    add_model_options(calibrate)
    calibrate.add_argument(
        "--data", metavar="FILE", help="labelled rows to fit on; default: validation as saved with the run"
    )
    calibrate.add_argument("--test", metavar="FILE", help="rows to judge it by; default: test as saved with the run")
    text = "choose the threshold above which so large a share of the answers is right, for example 0.95"
    calibrate.add_argument("--precision", type=float, metavar="SHARE", help=text)
    add_column_options(calibrate)
    calibrate.set_defaults(verb="calibrate")

    _add_explain(verbs)
    _add_faithfulness(verbs)
    _add_compare(verbs)
    _add_findings(verbs)


def _add_explain(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "which words of a text speak for a label, and which against it: in colours, as a page, as JSON"
    explain = verbs.add_parser("explain", help=text, description=text)
    add_model_options(explain, required=False)
    explain.add_argument("text", nargs="?", metavar="TEXT")
    explain.add_argument("--file", metavar="FILE", help="a text file in place of TEXT, for example an article")
    explain.add_argument("--encoding", default="auto", metavar="NAME", help="auto, utf-8, gb18030 or big5 for example")
    text = "occlusion (the default) works on every backend, the others on torch; attention is exploratory"
    explain.add_argument("--method", choices=EXPLANATIONS, default="occlusion", help=text)
    explain.add_argument("--label", metavar="LABEL", help="explain this label; default: the one that the model gives")
    explain.add_argument("--aspect", metavar="ASPECT", help="of a model with aspects; default: each that is mentioned")
    text = "of a text that is read in chunks: explain those that speak most for the label (3)"
    explain.add_argument("--top_chunks", type=int, default=3, metavar="M", help=text)
    explain.add_argument("--html", metavar="FILE", help="also write a page that stands alone")
    explain.add_argument("--json", action="store_true", help="print JSON in place of colours")
    explain.set_defaults(verb="explain")


def _add_faithfulness(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "whether explanations name what the model goes by: comprehensiveness and sufficiency against random order"
    faithfulness = verbs.add_parser("faithfulness", help=text, description=text)
    add_model_options(faithfulness)
    faithfulness.add_argument("--data", required=True, metavar="FILE", help="labelled file that texts are drawn from")
    faithfulness.add_argument("--rows", type=int, default=200, metavar="N", help="texts to draw (200)")
    text = "default: all that the backend has"
    faithfulness.add_argument("--methods", nargs="+", choices=EXPLANATIONS, metavar="METHOD", help=text)
    faithfulness.add_argument("--seed", type=int, default=42, metavar="N", help="of the draw and of chance (42)")
    faithfulness.add_argument("--output", metavar="FILE.json", help="also write the figures as JSON")
    add_column_options(faithfulness)
    faithfulness.set_defaults(verb="faithfulness")


def _add_compare(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "two models on the same rows: paired tests, and the rows whose answer changed"
    compare = verbs.add_parser("compare", help=text, description=text)
    compare.add_argument("a", metavar="A", help="path or id of the model that is there")
    compare.add_argument("b", metavar="B", help="path or id of the one that is to be better")
    compare.add_argument("--data", required=True, metavar="FILE", help="labelled file")
    compare.add_argument("--backend", choices=BACKENDS, default="auto", help="which file of both runs (auto)")
    compare.add_argument("--backend_b", choices=BACKENDS, help="which file of B runs, where it is another than A's")
    compare.add_argument("--provider", choices=("cpu", "cuda", "tensorrt"), default="cpu", help="where it runs (cpu)")
    compare.add_argument("--seed", type=int, default=42, metavar="N", help="of the bootstrap (42)")
    compare.add_argument("--output_dir", metavar="FOLDER", help="for compare.json and changed.csv")
    add_column_options(compare)
    compare.set_defaults(verb="compare")


def _add_findings(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "what a sweep or some runs found: effects with intervals, the best of each key, failures, cost, pictures"
    findings = verbs.add_parser("findings", help=text, description=text)
    findings.add_argument("runs", nargs="+", metavar="RUNS", help="folder of a sweep, of a run, or of several runs")
    findings.add_argument("--output", required=True, metavar="FILE.md", help="the page; pictures and HTML beside it")
    findings.add_argument("--baseline", metavar="SETTING", help="what the others are measured against (the first)")
    findings.add_argument("--title", metavar="TEXT", help="of the page")
    text = "texts shown for each confusion and of the surest mistakes; 0 shows none (3)"
    findings.add_argument("--examples", type=int, default=3, metavar="N", help=text)
    findings.set_defaults(verb="findings")
