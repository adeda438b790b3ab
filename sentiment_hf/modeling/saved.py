"""What a saved model knows beyond its weights: task and text settings, kept in the stock config.

A stock config carries unknown keys through saving and loading, so the checkpoint stays one that `pipeline()`, the Hub's
widget and Optimum take as it is.
"""

from __future__ import annotations

import logging
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from sentiment_hf.aspects import AspectTask, aspect_columns
from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.labelled import AnyTask
from sentiment_hf.data.tokenization import SLIDING, TextSettings
from sentiment_hf.modeling.configuration_bert_heads import AspectBertConfig
from sentiment_hf.modeling.loading import max_positions
from sentiment_hf.modeling.version import check_version, record_version
from sentiment_hf.tasks import Task

logger = logging.getLogger(__name__)

CONFIG_KEY = "sentiment_hf"
# Tokenizers without a limit report one of about 10**30.
_NO_LIMIT = 1_000_000


def record_settings(
    config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, task: AnyTask, settings: TextSettings
) -> None:
    """Write task and text settings into the config, and the length limit into the tokenizer for stock pipelines."""
    saved: dict[str, Any] = {
        "task": task.name,
        "metric": task.metric,
        "text": settings.to_dict(),
    }
    if isinstance(task, AspectTask):
        saved["columns"] = {aspect: list(columns) for aspect, columns in task.columns.items()}
        saved["rating_column"] = task.rating_column
    elif task.raw_labels:
        saved["raw_labels"] = dict(task.raw_labels)
    setattr(config, CONFIG_KEY, saved)
    record_version(config)
    tokenizer.model_max_length = settings.max_length
    tokenizer.truncation_side = "left" if settings.truncation == "left" else "right"


def recorded_settings(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, name: str) -> TextSettings:
    """The text settings a model was saved with; for a model from elsewhere: no cleaning, windows of its own length.

    Raises:
        InputError: a newer version of this package saved the model.
    """
    check_version(config.to_dict(), name)
    saved: dict[str, Any] | None = getattr(config, CONFIG_KEY, None)
    if saved is not None:
        return TextSettings.from_dict(saved["text"])
    limits = [max_positions(config), tokenizer.model_max_length]
    max_length = min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=512)
    logger.warning(
        "%s records no text settings: no cleaning, and longer texts in windows of its %d tokens", name, max_length
    )
    return TextSettings(cleaning=Cleaning.none(), max_length=max_length, truncation=SLIDING)


def record_calibration(saved_config: dict[str, Any], temperature: float, threshold: float | None) -> None:
    """Write how logits become probabilities into a saved config, given as the mapping that its file holds."""
    settings = saved_config.setdefault(CONFIG_KEY, {})
    settings["calibration"] = {"temperature": temperature, "threshold": threshold}


def recorded_calibration(config: PretrainedConfig) -> tuple[float, float | None]:
    """Temperature and threshold that a model was saved with; 1 and None where it was never calibrated."""
    saved = (getattr(config, CONFIG_KEY, None) or {}).get("calibration") or {}
    return saved.get("temperature", 1.0), saved.get("threshold")


def task_of(config: PretrainedConfig) -> AnyTask:
    """The task of a saved model: label names from the config; raw labels may be names or, as saved, ids."""
    saved = getattr(config, CONFIG_KEY, None) or {}
    if isinstance(config, AspectBertConfig):
        columns = saved.get("columns") or aspect_columns(config.aspects)
        return AspectTask(
            {aspect: tuple(columns[aspect]) for aspect in config.aspects}, config.rating, saved.get("rating_column")
        )
    names = tuple(config.id2label[index] for index in range(config.num_labels))
    raw_labels = saved.get("raw_labels") or {str(index): label for index, label in enumerate(names)}
    return Task(saved.get("task", "custom"), names, raw_labels, saved.get("metric", "macro_f1"))
