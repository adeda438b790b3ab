"""`sentiment-hf train`: train, score, export and quantize, from a labelled file or a recipe.

The result is one table with the baseline, FP32 and INT8. `quantize: none` stops after training, as does
`accelerate launch -m sentiment_hf.training.run`, which takes the same arguments.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sentiment_hf.config.recipe import add_recipe_options
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError, exits_cleanly

if TYPE_CHECKING:
    from sentiment_hf.training.arguments import RunArguments
    from sentiment_hf.training.run import FinishedRun

logger = logging.getLogger(__name__)

# The keys that most people set; --help_all shows the others.
COMMON_KEYS = (
    *("train_file", "validation_file", "test_file", "text_column", "label_column", "task", "labels"),
    *("protocol", "max_length", "truncation", "model", "output_dir", "overwrite_output_dir", "seed"),
    *("num_train_epochs", "learning_rate", "per_device_train_batch_size", "rdrop_alpha", "class_weights"),
    *("distill_from", "baseline_only", "quantize", "max_drop"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [FILE] [--config RECIPE.yaml] [--KEY VALUE …]"
    parser.epilog = (
        "Without a recipe the model is starter and the output folder is runs/ plus the name of the file; learning "
        "rate, epochs and some other settings are chosen from the size of the model and of the data. They are logged "
        "and saved in recipe.yaml. Options on the command line override both. Every field of transformers' "
        "TrainingArguments is an option as well."
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="labelled rows; the same as --train_file")
    add_recipe_options(parser, shown=COMMON_KEYS)


@exits_cleanly
def main(words: Sequence[str]) -> int:
    from accelerate import PartialState

    from sentiment_hf.evaluation.report import METRICS_FILE, metrics_table
    from sentiment_hf.publishing.push import PushOptions, check_push, push_run, show_pushed
    from sentiment_hf.training.defaults import parse_command_line
    from sentiment_hf.training.run import check_model, train
    from sentiment_hf.training.scoring import show_advice
    from sentiment_hf.utils.hardware import end_with_parent

    end_with_parent()
    args = parse_command_line(words)
    log_to_stderr(logging.INFO if args.training.process_index == 0 else logging.WARNING)
    hub = args.training
    if hub.push_finished_run and hub.baseline_only:
        raise InputError("a model for push_to_hub", "baseline_only", "Leave one of them out.")
    if hub.push_finished_run:
        check_push(hub.hub_model_id, hub.folder, hub.hub_token)
    # Before a large table is read.
    check_model(args.model)
    exports = _exports(args)
    finished = train(args)
    if finished.metrics:
        metrics, refusal = _export(args, finished) if exports else (finished.metrics, None)
        show(metrics_table([metrics]))
        show_advice(metrics)
        if not args.training.baseline_only:
            made = "Model, onnx/, audit.json" if exports else "Model, audit.json"
            show(f"{made}, train.log and {METRICS_FILE} are in {finished.folder}")
            if refusal:
                show(refusal)
            show(f"Try it: sentiment-hf predict --model {finished.folder} TEXT")
        if hub.push_finished_run and hub.hub_model_id is not None:
            options = PushOptions(private=bool(hub.hub_private_repo), token=hub.hub_token)
            show_pushed(*push_run(finished.folder, hub.hub_model_id, options))
    # A gloo thread still running when the interpreter exits may abort the process and with it the whole job.
    PartialState().destroy_process_group()
    return 0


def _exports(args: RunArguments) -> bool:
    """Tell whether an export follows the training; raise what would go wrong with it, before hours of training."""
    if args.training.baseline_only or args.export.quantize == "none":
        return False
    try:
        _check_export(args)
    except InputError as error:
        if "quantize" not in args.chosen:
            raise
        # Nobody asked for INT8: the model is trained as it would be without it.
        args.export.quantize, args.chosen["quantize"] = "none", f"quantize: none ({error})"
        logger.warning("no ONNX and INT8 files: %s", error)
        return False
    return True


def _check_export(args: RunArguments) -> None:
    from sentiment_hf.compression.onnx import check_exportable, check_exporter
    from sentiment_hf.modeling.classifier import SCRATCH
    from sentiment_hf.modeling.loading import load_config

    check_exporter()
    if args.model.model not in (None, SCRATCH):
        check_exportable(load_config(args.model.model, args.model.model_revision), args.model.model)


def _export(args: RunArguments, finished: FinishedRun) -> tuple[dict[str, Any], str | None]:
    """Export a finished run; return its metrics with those of the files, and why there is no INT8 file."""
    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization
    from sentiment_hf.compression.scored_export import score_exported

    told, splits = args.export, finished.data.splits
    quantization = Quantization(told.quantize, told.arch, told.max_drop, told.activation_ranges, told.sensitivity)
    exported = export_model(finished.folder, splits["validation"], quantization, activation_rows=splits["train"])
    task, baseline = finished.data.task, finished.baseline
    metrics = score_exported(finished.folder, exported, finished.metrics, splits, task, baseline)
    return metrics, exported.refusal
