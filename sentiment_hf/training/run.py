"""One training run from recipe to `metrics.json`.

`accelerate launch -m sentiment_hf.training.run --config recipe.yaml --key value …`; `sentiment-hf train` takes the same
arguments, and exports the model afterwards.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import EarlyStoppingCallback, PreTrainedModel, PreTrainedTokenizerBase, TrainerState

from sentiment_hf.config.options import ModelArguments
from sentiment_hf.data.collation import ClassificationCollator, DocumentCollator
from sentiment_hf.data.preparation import PreparedData
from sentiment_hf.evaluation.baseline import TfidfBaseline
from sentiment_hf.evaluation.report import metrics_table, write_metrics
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.classifier import SCRATCH, load_classifier
from sentiment_hf.modeling.config_io import recorded_settings
from sentiment_hf.modeling.forward import torch_document_head, torch_forward
from sentiment_hf.modeling.loading import load_config, load_tokenizer
from sentiment_hf.modeling.lora import merge_adapters
from sentiment_hf.modeling.names import check_there, resolve_model
from sentiment_hf.training import folder as run_folder
from sentiment_hf.training.arguments import RunArguments
from sentiment_hf.training.defaults import parse_command_line, settle, shape_of, usual_learning_rate
from sentiment_hf.training.provenance import run_sources
from sentiment_hf.training.records import (
    ROWS_FILE,
    compared_rows,
    environment,
    log_in_lines,
    log_to_file,
    peak_memory_mb,
    rows_digest,
)
from sentiment_hf.training.scoring import Training, below_baseline, score_baseline, score_run, show_advice
from sentiment_hf.training.setup import (
    audit_tokens,
    fold_logit_adjustment,
    load_data,
    load_model,
    sample_training_rows,
    tokenize_splits,
)
from sentiment_hf.training.soft_targets import load_teachers, rows_to_learn_from, with_soft_targets
from sentiment_hf.training.trainer import SentimentTrainer
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError, exits_cleanly
from sentiment_hf.utils.files import write_json, write_text
from sentiment_hf.utils.hardware import end_with_parent

# Not __name__: started with -m that is __main__, whose log goes nowhere.
logger = logging.getLogger("sentiment_hf.training.run")

AUDIT_FILE = "audit.json"


@dataclass
class FinishedRun:
    """A finished run, for what comes after it (export, report).

    Attributes:
        folder: with model, tokenizer, `metrics.json`, `audit.json`, `train.log`, `splits/`.
        data: the rows of the run.
        scorer: the saved model as texts -> logits in FP32; None in all processes but the main one.
        baseline: the fitted baseline, or None where the recipe turned it off.
        metrics: what `metrics.json` holds.
    """

    folder: Path
    data: PreparedData
    scorer: TextScorer | None
    baseline: TfidfBaseline | None
    metrics: dict[str, Any]


def train(args: RunArguments) -> FinishedRun:
    """Prepare data, fine-tune, keep the best checkpoint, score it beside the baseline, and write everything down.

    Everything that can be refused is refused before the output folder is touched.

    Raises:
        InputError: see the parts.
    """
    folder = args.training.folder
    resume = args.training.resume_from_checkpoint
    is_main = args.training.process_index == 0
    if is_main:
        run_folder.check_free(folder, args.training.overwrite_output_dir, resume is not None)
    checkpoint = run_folder.newest_checkpoint(folder, resume)
    data = load_data(args)
    if args.training.baseline_only:
        return score_baseline_alone(args, data)
    settle(args, data)
    tokenizer, model = load_model(args, data)
    data.audit["rows_of_this_run"] = audit_tokens(args, data, tokenizer)
    trainer_rows = sample_training_rows(args, data)
    corrections = data.task.corrections(args.training, trainer_rows["label"].tolist())
    teachers = load_teachers(args, data, model)
    learned_from = rows_to_learn_from(args, data, trainer_rows)
    # Before the training: afterwards the files may be others.
    sources = run_sources(args, data) if is_main else {}
    record_of_rows = compared_rows(checkpoint, {**data.splits, "train": learned_from}, data.task.labels)
    if is_main:
        run_folder.init_run_dir(folder, args.as_recipe(), checkpoint is not None)
        save_splits(folder, data, record_of_rows)
    with args.training.main_process_first(desc="tokenizing"):
        tokenized = tokenize_splits(args, learned_from, data.splits["validation"], tokenizer)
    if teachers:
        tokenized["train"] = with_soft_targets(tokenized["train"], learned_from["text"].tolist(), teachers)
    with log_to_file(folder) if is_main else nullcontext():
        log_facts(args, data, len(trainer_rows), model, sources)
        # W&B's own choice would be wherever the command was called from.
        os.environ.setdefault("WANDB_DIR", str(folder))
        trainer = make_trainer(args, model, tokenizer, tokenized, corrections)
        started = time.perf_counter()
        with run_folder.resuming(checkpoint):
            trainer.train(resume_from_checkpoint=checkpoint)
        seconds = time.perf_counter() - started
        gathered = trainer.gathered_weights()
        if not is_main:
            return FinishedRun(folder, data, None, None, {})
        trained = trainer.model
        if gathered is not None:
            # The trainer's model holds its part of each weight; only a new one can hold them whole.
            trained = load_model(args, data)[1]
            trained.load_state_dict(gathered)
        if args.model.peft is not None:
            trained = merge_adapters(trained)
        if trainer.prediction_shift is not None:
            fold_logit_adjustment(trained, trainer.prediction_shift)
        run_folder.save_model(folder, trained, tokenizer)
        logger.info("trained in %.0f s; best checkpoint saved in %s", seconds, folder)
        scorer = saved_scorer(folder, args)
        baseline, metrics = scores_and_advice(args, data, scorer, trainer_rows, trainer.state)
        record = {
            "seed": args.training.seed,
            "chosen_by_default": args.chosen,
            "training_seconds": round(seconds, 1),
            "resumed_from": None if checkpoint is None else Path(checkpoint).name,
            "data": rows_digest(data.splits),
            "sources": sources,
        }
        write_json(folder / "run.json", record | training_record(trainer))
        write_metrics(folder, metrics)
    return FinishedRun(folder, data, scorer, baseline, metrics)


def score_baseline_alone(args: RunArguments, data: PreparedData) -> FinishedRun:
    """Fit and score the baseline, and write it down as a run is written."""
    folder = args.training.folder
    if args.training.process_index > 0:
        return FinishedRun(folder, data, None, None, {})
    baseline, metrics, _ = score_baseline(args, data)
    run_folder.init_run_dir(folder, args.as_recipe(), resume=False)
    save_splits(folder, data)
    write_metrics(folder, metrics)
    return FinishedRun(folder, data, None, baseline, metrics)


def check_model(model: ModelArguments) -> None:
    """Raise InputError for a model that is not there, before a large table is read."""
    if model.model not in (None, SCRATCH):
        check_there(resolve_model(model.model), model.model_revision)


def make_trainer(
    args: RunArguments,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tokenized: dict[str, Dataset],
    corrections: dict[str, torch.Tensor | None],
) -> SentimentTrainer:
    """Build the trainer of a recipe: its loss, its collator, and what it reports."""
    sliding = args.text_settings.is_sliding
    collator = DocumentCollator if sliding else ClassificationCollator
    trainer = SentimentTrainer(
        model=model,
        args=args.training,
        class_weight=corrections["class_weight"],
        log_prior=corrections["log_prior"],
        train_dataset=tokenized["train"],
        eval_dataset=tokenized["validation"],
        aggregation=args.data.aggregation if sliding else None,
        data_collator=collator(tokenizer, args.data.pad_to_multiple_of, args.data.max_length),
        processing_class=tokenizer,
    )
    log_in_lines(trainer)
    if args.training.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(args.training.early_stopping_patience))
    return trainer


def training_record(trainer: SentimentTrainer) -> dict[str, Any]:
    """Describe how a training went, for `run.json`."""
    precision = trainer.accelerator.mixed_precision
    return {
        "best_checkpoint": trainer.state.best_model_checkpoint,
        "best_metric": trainer.state.best_metric,
        "peak_memory_mb": peak_memory_mb(),
        "environment": environment(),
        # Of training and of its own evaluations, `best_metric` among them; everything in metrics.json is FP32.
        "precision": {"no": "fp32"}.get(precision, precision),
        "distributed_type": trainer.accelerator.distributed_type.value,
        "num_processes": trainer.accelerator.num_processes,
        "history": trainer.state.log_history,
    }


def saved_scorer(folder: Path, args: RunArguments) -> TextScorer:
    """Load the model of a run as it was saved, in FP32 and on the device of its training.

    What was trained is still wrapped in the autocast of its mixed precision; a score of it would be neither FP32's nor
    that of the files that people load.
    """
    if args.training.tf32:
        torch.set_float32_matmul_precision("highest")
    config, tokenizer = load_config(str(folder)), load_tokenizer(str(folder))
    model = load_classifier(str(folder), config).to(args.training.device)
    settings = recorded_settings(config, tokenizer, str(folder))
    return TextScorer(tokenizer, settings, torch_forward(model), document_head=torch_document_head(model))


def scores_and_advice(
    args: RunArguments, data: PreparedData, scorer: TextScorer, rows: pd.DataFrame, state: TrainerState
) -> tuple[TfidfBaseline | None, dict[str, Any]]:
    """Score a run that learned from `rows`; return the baseline and the metrics, with what to do where it is below the
    baseline."""
    baseline, metrics = score_run(args, data, scorer, len(rows))
    counts = rows["label"].value_counts() if data.task.is_single_label else {}
    best = state.best_model_checkpoint
    layers, hidden_size, _ = shape_of(args)
    training = Training(
        model=args.model.model or "",
        train_file=args.data.train_file,
        rows=len(rows),
        class_counts={data.task.labels[index]: int(count) for index, count in counts.items()},
        learning_rate=args.training.learning_rate,
        usual_rate=usual_learning_rate(layers, hidden_size, args.model.peft is not None),
        epochs=args.training.num_train_epochs,
        better_to_the_end=best is not None and best.endswith(f"-{state.global_step}"),
        cut=data.audit["rows_of_this_run"]["train"]["cut_by_max_length"],
        max_length=args.data.max_length,
        truncation=args.data.truncation,
        conflicting=data.left_out.get("conflicting", 0),
    )
    return baseline, metrics | below_baseline(metrics, training)


def save_splits(folder: Path, data: PreparedData, record: dict[str, Any] | None = None) -> None:
    """Write what the rows were, for whoever resumes; audit and held-out rows beside the run, all splits where any was
    made here."""
    if record is not None:
        write_json(folder / ROWS_FILE, record)
    write_json(folder / AUDIT_FILE, data.audit)
    (folder / run_folder.SPLITS_FOLDER).mkdir(exist_ok=True)
    for split, frame in data.splits.items():
        if split != "train" or data.made_splits:
            rows = data.task.name_labels(frame).to_json(orient="records", lines=True, force_ascii=False)
            write_text(folder / run_folder.SPLITS_FOLDER / f"{split}.jsonl", rows)


def log_facts(
    args: RunArguments, data: PreparedData, trained_on: int, model: PreTrainedModel, sources: dict[str, Any]
) -> None:
    """Seed, versions, hyper-parameters and row counts: what a reader of the log wants first."""
    rows = ", ".join(f"{split} {len(frame):,}" for split, frame in data.splits.items())
    logger.info("protocol %s: %s rows; left out of training: %s", args.data.protocol, rows, data.left_out)
    for line in args.chosen.values():
        logger.info("default %s", line)
    logger.info("seed %d, trained on %d rows, precision %s", args.training.seed, trained_on, args.training.precision)
    logger.info("model %s: %.1f million parameters", args.model.model, model.num_parameters() / 1e6)
    logger.info("versions and hardware: %s", environment())
    logger.info("hyper-parameters: %s", args.as_recipe())
    logger.info("read: %s", sources)


@exits_cleanly
def main(argv: Sequence[str] | None = None) -> int:
    """Train by the arguments of the command line and show the table."""
    end_with_parent()
    args = parse_command_line(sys.argv[1:] if argv is None else argv)
    if args.training.push_finished_run:
        remedy = "Use that, or push afterwards: sentiment-hf push RUN USER/MODEL"
        raise InputError("`sentiment-hf train` for push_to_hub", "training alone", remedy)
    log_to_stderr(logging.INFO if args.training.process_index == 0 else logging.WARNING)
    check_model(args.model)
    finished = train(args)
    if finished.metrics:
        show(metrics_table([finished.metrics]))
        show_advice(finished.metrics)
        if not args.training.baseline_only:
            show(f"The model is in {finished.folder}. Try it: sentiment-hf predict --model {finished.folder} TEXT")
            command = f"sentiment-hf compress export --model {finished.folder} --quantize dynamic"
            show(f"Trained only. For ONNX and INT8: {command}")
    # A thread of gloo that is still there when the interpreter ends may abort the process, and with it the whole job.
    PartialState().destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
