"""`sentiment-hf compress export`: write FP32 and INT8 ONNX files of a saved model."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from sentiment_hf.cli.common import add_column_options
from sentiment_hf.config.values import ACTIVATION_RANGES, ARCHS, QUANTIZATIONS
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

REFUSED_STATUS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="PATH_OR_ID", help="model folder or Hub id")
    text = "none: FP32 only; dynamic: INT8; static: INT8 with activation ranges from --activation_file (default: none)"
    parser.add_argument("--quantize", choices=QUANTIZATIONS, default="none", help=text)
    text = "hardware that the INT8 file is for; auto: this machine (default: auto)"
    parser.add_argument("--arch", "--target", choices=ARCHS, default="auto", help=text)
    text = "points of the validation metric that INT8 may lose (default: 0.5)"
    parser.add_argument("--max_drop", type=float, default=0.5, metavar="POINTS", help=text)
    text = "training texts for activation ranges, and for the gate if validation is small (default: the saved ones)"
    parser.add_argument("--activation_file", metavar="FILE", help=text)
    text = "static only: how activation ranges are computed (default: minmax)"
    parser.add_argument("--activation_ranges", choices=ACTIVATION_RANGES, default="minmax", help=text)
    text = "static only: keep the most sensitive operations in FP32 until the gate passes; writes sensitivity.csv"
    parser.add_argument("--sensitivity", action="store_true", help=text)
    text = "labelled validation rows (default: those saved with the run)"
    parser.add_argument("--validation_file", metavar="FILE", help=text)
    parser.add_argument("--output_dir", metavar="FOLDER", help="folder for the files (default: MODEL/onnx)")
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization
    from sentiment_hf.compression.scored_export import score_exported, scored_splits
    from sentiment_hf.data.audit import is_blank
    from sentiment_hf.data.columns import Columns
    from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_with_rows
    from sentiment_hf.data.sources import load_file
    from sentiment_hf.evaluation.report import METRICS_FILE, metrics_table, read_metrics
    from sentiment_hf.modeling.config_io import predicted_task
    from sentiment_hf.modeling.loading import load_config
    from sentiment_hf.training.folder import saved_split

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
        # Their labels are not used.
        columns = Columns(args.text_column, labelled=False)
        rows = load_file(args.activation_file, columns, TableFormat.from_args(args))
    elif task.has_labelled_rows:
        rows = saved_split(Path(args.model), "train", task)
    if rows is not None:
        rows = rows[~rows["text"].map(is_blank)]
    folder = Path(args.model)
    exported = export_model(args.model, validation, quantization, output, rows)
    # An evaluation of a model from elsewhere has metrics, too, but no splits.
    metrics = read_metrics(folder) if output is None and (folder / METRICS_FILE).is_file() else {}
    if "split" in metrics:
        splits = scored_splits(folder, metrics, task_with_rows(task))
        if splits is None:
            logger.warning("%s no longer has the rows of its metrics: the exported files are not scored", folder)
        else:
            metrics = score_exported(folder, exported, metrics, splits, task_with_rows(task))
        show(metrics_table([metrics]))
    show(f"Written: {' and '.join(str(path) for path in (exported.fp32, exported.int8) if path)}")
    if exported.refusal:
        show(exported.refusal)
        return REFUSED_STATUS
    if exported.gate:
        show(f"Gate passed: {exported.gate}")
    return 0
