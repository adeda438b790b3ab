"""Turn the inputs of `SentimentTrainer` into those of `Trainer`: a model, a tokenizer, tokenized datasets."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.modeling.config_io import CONFIG_KEY, record_settings, recorded_settings, task_of
from sentiment_hf.modeling.loading import load_config, load_tokenizer, max_positions
from sentiment_hf.modeling.new_classifier import new_classifier
from sentiment_hf.tasks import Task
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.training.raw_datasets import (
    LABELS,
    Columns,
    check_dataset,
    is_raw,
    label_column,
    task_of_dataset,
    tokenized,
    with_ids,
)
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

# transformers' own names of labels that nobody named.
_UNNAMED = re.compile(r"LABEL_\d+")
# Of raw texts, unless the model knows better or the settings are given.
DEFAULT_SETTINGS = TextSettings(truncation="head_tail")
# What the data pipeline carries along with a row, whether or not the model's forward takes it.
ROW_FIELDS = (
    "doc_id",
    "length",
    "chunk_idx",
    "chunk_document",
    "num_chunks",
    "teacher_logits",
    "teacher_states",
    "weight",
)


@dataclass
class Prepared:
    """All that a `Trainer` is made of.

    Attributes:
        model: with task and text settings in its config, where it has one.
        tokenizer: None where no raw dataset and no name of a model asked for one.
        datasets: under the names of `Trainer`'s arguments; None, one, or a mapping of several.
        task: whose labels these are; None where nothing says so.
        settings: how texts became tokens; None where nobody knows.
        columns: of the datasets as they are given.
        fields: columns of tokenized datasets that somebody reads.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase | None
    datasets: dict[str, Any]
    task: Task | None
    settings: TextSettings | None
    columns: Columns
    fields: frozenset[str]

    @property
    def has_documents(self) -> bool:
        """Whether the rows to learn from, or else to evaluate on, are documents cut into chunks."""
        first = next((dataset for dataset in self.datasets.values() if dataset is not None), None)
        return "chunk_idx" in (getattr(first, "column_names", None) or ())

    def ready(self, dataset: Any, name: str, to_predict: bool = False) -> Any:
        """Tokenize a raw dataset, and take what is tokenized as the trainer needs it; see `tokenized`.

        Raises:
            InputError: see `tokenized` and `with_ids`; raw texts of several labels.
        """
        if not is_raw(dataset):
            return with_ids(dataset, name, self.task, self.columns, self.fields)
        if self.task is None or not self.task.is_single_label or self.tokenizer is None or self.settings is None:
            remedy = "Tokenize them, with one list of ids a row under `labels`."
            raise InputError(f"one label a text in {name}", "a model of aspects", remedy)
        return tokenized(dataset, name, self.tokenizer, self.settings, self.task, self.columns, to_predict)


def prepare(
    model: str | Path | torch.nn.Module | None,
    args: SentimentTrainingArguments,
    given: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase | None,
    labels: Mapping[Any, Any] | list[Any] | None,
    columns: Columns,
    settings: TextSettings | None,
) -> Prepared:
    """Load what is named, tokenize what is raw, and record labels and text settings in the model's config.

    Args:
        model: a name, a model, or None where `Trainer` will make it.
        args: for the seed, and for whose turn it is where several processes tokenize.
        given: the datasets by the names of `Trainer`'s arguments.
        tokenizer: None for the model's own.
        labels: see `SentimentTrainer`.
        columns: of the datasets.
        settings: see `SentimentTrainer`.

    Raises:
        InputError: parts that do not go together.
    """
    sets = {name: dataset for key, value in given.items() for name, dataset in _each(key, value)}
    for part, dataset in sets.items():
        check_dataset(dataset, part)
    name = str(model) if isinstance(model, str | Path) else None
    config = load_config(name) if name is not None else getattr(model, "config", None)
    raw = [dataset for dataset in sets.values() if is_raw(dataset)]
    if tokenizer is None and (raw or name is not None):
        tokenizer = load_tokenizer(name or _origin(config))
    task = _task(config, name is None, list(sets.values()), labels, columns)
    is_recorded = getattr(config, CONFIG_KEY, None) is not None
    if settings is None:
        settings = _settings(config, tokenizer, is_recorded, bool(raw), name)
    if name is not None:
        if task is None or tokenizer is None or settings is None:
            remedy = "Give a train_dataset with labels, or name them with labels=[…]."
            raise InputError(f"labels for a new head on {name}", "none", remedy)
        model = new_classifier(name, task, tokenizer, settings, args.seed)
    elif isinstance(config, PretrainedConfig) and task is not None and task.is_single_label:
        _name_labels(config, task)
        if not is_recorded and settings is not None and tokenizer is not None:
            record_settings(config, tokenizer, task, settings)
    # The trainer may put another forward in this one's place.
    read = inspect.signature(model.forward).parameters if isinstance(model, torch.nn.Module) else ()
    fields = frozenset({*ROW_FIELDS, LABELS, "label", *read})
    parts = Prepared(model, tokenizer, {}, task, settings, columns, fields)
    with args.main_process_first(desc="tokenizing"):
        ready = {part: parts.ready(dataset, part) for part, dataset in sets.items()}
    parts.datasets = {
        key: {name: ready[f"{key}[{name!r}]"] for name in value} if isinstance(value, dict) else ready.get(key)
        for key, value in given.items()
    }
    return parts


def _each(key: str, value: Any) -> list[tuple[str, Any]]:
    """List the datasets under an argument, each with a name for messages."""
    if type(value) is dict:
        return [(f"{key}[{name!r}]", dataset) for name, dataset in value.items()]
    return [] if value is None else [(key, value)]


def _origin(config: Any) -> str:
    """Where a model's tokenizer is likely to be."""
    origin = getattr(config, "_name_or_path", "")
    if not origin:
        raise InputError("a tokenizer for raw texts", "none", "Give it as processing_class=.")
    return str(origin)


def _task(
    config: Any, is_model: bool, sets: list[Any], labels: Mapping[Any, Any] | list[Any] | None, columns: Columns
) -> Task | None:
    """Choose the task: as the labels are given, as the model has it, or as the first dataset with labels says."""
    dataset = next((each for each in sets if label_column(each, columns) is not None), None)
    known = None
    if isinstance(config, PretrainedConfig) and labels is None and (is_model or hasattr(config, CONFIG_KEY)):
        names = [str(name) for name in config.id2label.values()]
        if hasattr(config, CONFIG_KEY) or not all(map(_UNNAMED.fullmatch, names)):
            known = task_of(config)
    if dataset is None or (known is not None and is_model):
        return known
    task = task_of_dataset(dataset, columns, labels)
    # A classifier that is trained on keeps its ids, which its head was trained for.
    if known is not None and known.is_single_label and set(task.labels) <= set(known.labels):
        return known
    return task


def _settings(
    config: Any, tokenizer: PreTrainedTokenizerBase | None, is_recorded: bool, has_raw: bool, name: str | None
) -> TextSettings | None:
    """How texts become tokens where nobody said: as the model was saved with, or by default."""
    if is_recorded and tokenizer is not None:
        return recorded_settings(config, tokenizer, name or "the model")
    positions = max_positions(config) if isinstance(config, PretrainedConfig) else None
    if has_raw:
        length = min(DEFAULT_SETTINGS.max_length, positions or DEFAULT_SETTINGS.max_length)
        return TextSettings(max_length=length, truncation=DEFAULT_SETTINGS.truncation)
    if name is None:
        return None
    length = min(positions or 512, 512)
    logger.warning(
        "cleaning and truncation of the tokenized texts are unknown: the saved model will not clean and will read the "
        "first %d tokens; set text_settings= to change that",
        length,
    )
    return TextSettings(cleaning=Cleaning.none(), max_length=length)


def _name_labels(config: PretrainedConfig, task: Task) -> None:
    """Give a model the names of its labels, if it has as many."""
    if config.num_labels != len(task.labels):
        remedy = "Load it with num_labels=, or give its name: SentimentTrainer(model='…') makes a new head."
        raise InputError(
            f"a model with {len(task.labels)} labels ({', '.join(task.labels)})", str(config.num_labels), remedy
        )
    config.id2label, config.label2id = task.id2label, task.label2id
