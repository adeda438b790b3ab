"""`sentiment-hf export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sentiment_hf.compression.quantization import Quantization
from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.columns import Columns
from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_with_rows
from sentiment_hf.data.sources import load_file
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.evaluation.report import metrics_table
from sentiment_hf.exceptions import InputError
from sentiment_hf.job import export_run, saved_split
from sentiment_hf.modeling.config_io import predicted_task
from sentiment_hf.modeling.loading import load_config

REFUSED_STATUS = 1


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    task = predicted_task(load_config(args.model))
    validation = rows = None
    if args.validation_file:
        validation = load_labelled(args.validation_file, task_with_rows(task), ReadOptions.from_args(args))
        validation = validation[~validation["text"].map(is_blank)]
    elif task.has_labelled_rows:
        validation = saved_split(Path(args.model), "validation", task)
    output = Path(args.output_dir) if args.output_dir else None
    quantization = Quantization(args.quantize, args.arch, args.max_drop, args.activation_ranges, args.sensitivity)
    if args.activation_file and quantization.method == "none":
        found = "--quantize none"
        raise InputError("INT8 for --activation_file", found, "Add --quantize dynamic or static.")
    if args.activation_file:
        # What they are labelled as does not matter.
        columns = Columns(args.text_column, labelled=False)
        rows = load_file(args.activation_file, columns, TableFormat.from_args(args))
    elif task.has_labelled_rows:
        rows = saved_split(Path(args.model), "train", task)
    if rows is not None:
        rows = rows[~rows["text"].map(is_blank)]
    exported, metrics = export_run(args.model, quantization, validation, output, activation_rows=rows)
    if metrics:
        show(metrics_table([metrics]))
    for path in (exported.fp32, exported.int8):
        if path:
            show(f"Written: {path}")
    if exported.refusal:
        show(exported.refusal)
        return REFUSED_STATUS
    if exported.gate:
        show(f"Gate passed: {exported.gate}")
    return 0
