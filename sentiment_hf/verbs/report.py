"""`sentiment-hf report`: finished runs in one table."""

from __future__ import annotations

import argparse

from sentiment_hf.console import show
from sentiment_hf.evaluation.report import metrics_table, read_metrics


def run(args: argparse.Namespace) -> int:
    show(metrics_table([read_metrics(run) for run in args.runs]))
    return 0
