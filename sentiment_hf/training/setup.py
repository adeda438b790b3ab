"""Load what a recipe names: rows, tokenizer and model. Nothing is written here."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sentiment_hf.config.options import TaskArguments
from sentiment_hf.config.values import ASPECTS_TASK
from sentiment_hf.data.audit import token_figures
from sentiment_hf.data.cleaning import clean
from sentiment_hf.data.dataset import tokenize_frame
from sentiment_hf.data.decontamination import decontamination_index
from sentiment_hf.data.labelled import columns_of
from sentiment_hf.data.preparation import PreparedData, add_supplement, check_supplement, prepare_splits
from sentiment_hf.data.sources import load_splits
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tokenization import TextSettings, chunk_bounds, encode
from sentiment_hf.modeling.classifier import SCRATCH, scratch_tokenizer
from sentiment_hf.modeling.forward import last_linear
from sentiment_hf.modeling.loading import load_tokenizer
from sentiment_hf.modeling.lora import add_adapters
from sentiment_hf.modeling.new_classifier import extend_positions, new_classifier
from sentiment_hf.tasks import AspectTask, Task, aspect_columns, resolve_task
from sentiment_hf.training.arguments import RunArguments
from sentiment_hf.training.trainer import check_dropout
from sentiment_hf.utils.exceptions import InputError

# Texts that are tokenized at once for a look at their lengths.
_TEXTS_AT_ONCE = 100


def load_data(args: RunArguments) -> PreparedData:
    """Load the rows of a run, labels mapped, cleaned by protocol, split."""
    data = args.data
    check_supplement(data.supplement)  # type: ignore[arg-type]
    splits, task = read_splits(args)
    evaluation = None
    if args.decontamination.decontaminate_against or args.decontamination.decontaminate_against_packages:
        evaluation = decontamination_index(args.decontamination, data.data_dir, args.text_settings.cleaning)
    prepared = prepare_splits(
        splits,
        task,
        data.protocol,
        data.split_method,
        data.validation_share,
        data.test_share,
        data.split_seed,
        args.text_settings.cleaning,
        evaluation,
        args.task.label_values,
    )
    if data.supplement is not None:
        add_supplement(prepared, data.supplement, data.data_dir, data.encoding, evaluation)  # type: ignore[arg-type]
    return prepared


def read_splits(args: RunArguments) -> tuple[dict[str, pd.DataFrame], Task]:
    """Read the rows that a recipe names as they stand there, with raw labels, and the task that they are of."""
    data, task = args.data, args.task
    aspects = aspect_task(task) if task.task == ASPECTS_TASK else None
    splits = load_splits(
        data.dataset,
        data.dataset_config,
        data.train_file,
        data.validation_file,
        data.test_file,
        columns_of(aspects, data.text_column, data.label_column),
        TableFormat.from_args(data),
        data.data_dir,
        # Numbers that a recipe maps itself are not turned into the dataset's names first.
        class_names=not (isinstance(task.labels, dict) and all(label.isdigit() for label in task.labels)),
    )
    if aspects is not None:
        return splits, aspects
    where = data.train_file or data.dataset or "the training rows"
    return splits, resolve_task(task.task, task.labels, splits["train"]["label"], where)  # type: ignore[arg-type]


def aspect_task(args: TaskArguments) -> AspectTask:
    """Build the task of the aspects and the rating that a recipe names."""
    return AspectTask(aspect_columns(args.aspects), args.rating, args.rating_column)  # type: ignore[arg-type]


def load_model(args: RunArguments, data: PreparedData) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Tokenizer and classifier that the recipe names, with task and text settings in the config."""
    name = args.model.model
    if name is None:
        raise InputError("model", "none", "Name a Hub id or a folder with `model:`, or `scratch`.")
    overrides: dict[str, Any] = dict(args.model.config_overrides or {})  # type: ignore[arg-type]
    settings = args.text_settings
    if name == SCRATCH:
        train_texts = [clean(text, settings.cleaning) for text in data.splits["train"]["text"]]
        tokenizer = scratch_tokenizer(train_texts, overrides)
    else:
        tokenizer = load_tokenizer(name, args.model.model_revision)
    if args.model.classifier_dropout is not None:
        overrides["classifier_dropout"] = args.model.classifier_dropout
    if args.model.hierarchical != "none" and not settings.is_sliding:
        raise InputError("truncation: sliding for a hierarchical model", settings.truncation, "Set it.")
    model = new_classifier(
        name,
        data.task,
        tokenizer,
        settings,
        args.training.seed,
        extend_positions=args.model.extend_positions,
        attn_implementation=args.model.attn_implementation,
        num_hidden_layers=args.model.num_hidden_layers,
        config_overrides=overrides,
        revision=args.model.model_revision,
        pooling=args.model.pooling,
        hierarchical=args.model.hierarchical,
    )
    return tokenizer, adapt(model, args, data)


def adapt(model: PreTrainedModel, args: RunArguments, data: PreparedData) -> PreTrainedModel:
    """Adapt the classifier to this recipe: positions stretched, parts frozen, thresholds set, adapters put on."""
    if args.model.extend_positions is not None:
        extend_positions(model, args.model.extend_positions)
    if args.model.freeze_encoder:
        for parameter in model.base_model.parameters():
            parameter.requires_grad = False
    data.task.start_head(model, data.splits["train"]["label"])
    frozen_by = "peft" if args.model.peft is not None else "freeze_encoder" if args.model.freeze_encoder else ""
    if frozen_by and args.training.fgm_epsilon > 0:
        found = f"{frozen_by}, which freezes them"
        raise InputError("embeddings that learn, for fgm_epsilon", found, "Use one of the two.")
    if args.training.logit_adjustment > 0 and args.training.logit_adjustment_at == "prediction":
        output_layer(model, sum(cell.width for cell in data.task.class_cells()))
    if args.model.peft is not None:
        model = add_adapters(model, args.model.peft)  # type: ignore[arg-type]
    check_dropout(model, args.training.rdrop_alpha)
    return model


def sample_training_rows(args: RunArguments, data: PreparedData) -> pd.DataFrame:
    """Return the training rows, or a seeded sample of `max_train_rows` of them in their original order."""
    rows = data.splits["train"]
    limit = args.data.max_train_rows
    if limit is None or limit >= len(rows):
        return rows
    return rows.sample(limit, random_state=args.data.split_seed).sort_index()


def tokenize_splits(
    args: RunArguments, learned_from: pd.DataFrame, validation: pd.DataFrame, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Dataset]:
    """Turn the rows to learn from and those to choose the checkpoint by into token ids."""
    workers, cache = args.data.preprocessing_num_workers, args.data.cache_dir
    tokenized = {
        split: tokenize_frame(rows, tokenizer, args.text_settings, split, workers, cache)
        for split, rows in (("train", learned_from), ("validation", validation))
    }
    if not args.text_settings.is_sliding:
        # Evaluation pads to the longest row of a batch. Documents stay mixed: all chunks of the longest are too many.
        tokenized["validation"] = tokenized["validation"].sort("length")
    return tokenized


def chunk_figures(lengths: list[int], special: int, settings: TextSettings) -> dict[str, int]:
    """How many chunks documents of these lengths have, and how many of them `max_chunks` leaves out."""
    size = settings.max_length - special
    counts = [len(chunk_bounds(max(length - special, 0), size, min(settings.overlap, size - 1))) for length in lengths]
    kept = [min(count, settings.max_chunks or count) for count in counts]
    return {"chunks": sum(kept), "chunks_left_out": sum(counts) - sum(kept)}


def audit_tokens(args: RunArguments, data: PreparedData, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Lengths in tokens of the rows that the run uses, after cleaning, and what share `max_length` cuts."""
    settings = args.text_settings
    uncut = replace(settings, max_length=sys.maxsize, truncation="right", stride=None)
    figures = {}
    for split, frame in data.splits.items():
        # A few at a time: only their lengths are kept.
        blocks = (frame["text"].iloc[start : start + _TEXTS_AT_ONCE] for start in range(0, len(frame), _TEXTS_AT_ONCE))
        lengths = [len(ids) for block in blocks for ids in encode(tokenizer, block, uncut)["input_ids"]]
        figures[split] = {"rows": len(frame), **token_figures(lengths, args.data.max_length)}
        if settings.is_sliding:
            figures[split] |= chunk_figures(lengths, tokenizer.num_special_tokens_to_add(), settings)
    return figures


def output_layer(model: PreTrainedModel, width: int) -> torch.nn.Linear:
    """Find the layer that a classifier's logits come from.

    Args:
        model: a sequence classifier.
        width: of the logits: classes, or aspects times values.

    Raises:
        InputError: its last layer of that width has no bias.
    """
    _, layer = last_linear(model, width)
    if layer is None or layer.bias is None:
        remedy = "Use logit_adjustment_at: training."
        raise InputError("a head with a bias, for logit_adjustment_at: prediction", "one without", remedy)
    return layer


def fold_logit_adjustment(model: PreTrainedModel, shift: torch.Tensor) -> None:
    """Add to the bias of a classifier's last layer, in place.

    Args:
        model: a sequence classifier.
        shift: `[classes]`, or `[aspects * values]`.
    """
    bias = output_layer(model, len(shift)).bias
    with torch.no_grad():
        bias.add_(shift.to(bias))
