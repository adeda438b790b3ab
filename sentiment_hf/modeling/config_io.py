"""Task and text settings of a saved model, stored in its stock config.

A stock config carries unknown keys through saving and loading, so the checkpoint stays one that `pipeline()`, the Hub's
widget and Optimum take as it is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.labelled import task_with_rows
from sentiment_hf.data.tokenization import SLIDING, TextSettings
from sentiment_hf.modeling.loading import check_max_length, check_version, max_positions, record_version
from sentiment_hf.tasks import Task, saved_task
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

CONFIG_KEY = "sentiment_hf"
# Under it: what of the cleaning the saved tokenizer does not do by itself; missing where it does not clean at all.
NOT_IN_TOKENIZER = "not_in_tokenizer"
# Tokenizers without a limit report one of about 10**30.
_NO_LIMIT = 1_000_000


def record_settings(
    config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, task: Task, settings: TextSettings
) -> None:
    """Write task and text settings into the config, and the length limit into the tokenizer for stock pipelines."""
    saved: dict[str, Any] = {
        "task": task.name,
        "metric": task.metric,
        "text": settings.to_dict(),
        **task.to_dict(),
    }
    setattr(config, CONFIG_KEY, saved)
    record_version(config)
    tokenizer.model_max_length = settings.max_length
    tokenizer.truncation_side = "left" if settings.truncation == "left" else "right"


def recorded_settings(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, name: str) -> TextSettings:
    """Read the text settings of a saved model; for a model from elsewhere: no cleaning, chunks of its own length.

    Raises:
        InputError: a newer version of this package saved the model.
    """
    check_version(config.to_dict(), name)
    saved: dict[str, Any] | None = getattr(config, CONFIG_KEY, None)
    embeddings = getattr(config, "vocab_size", None)
    if isinstance(embeddings, int) and len(tokenizer) > embeddings:
        found = f"{len(tokenizer):,} tokens for {embeddings:,} embeddings"
        raise InputError(f"a tokenizer of the model in {name}", found, "Save the tokenizer that it was trained with.")
    if saved is not None:
        with _readable():
            settings = TextSettings.from_dict(saved["text"])
            check_max_length(settings.max_length, config, name)
            return settings
    limits = [max_positions(config), tokenizer.model_max_length]
    max_length = min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=512)
    logger.warning(
        "%s records no text settings: no cleaning, and longer texts in chunks of its %d tokens", name, max_length
    )
    return TextSettings(cleaning=Cleaning.none(), max_length=max_length, truncation=SLIDING)


def recorded_cleaning(config: PretrainedConfig) -> Cleaning | None:
    """Read the cleaning that a model's config holds; return None for a model from elsewhere."""
    saved: dict[str, Any] | None = getattr(config, CONFIG_KEY, None)
    if saved is None:
        return None
    with _readable():
        return TextSettings.from_dict(saved["text"]).cleaning


def record_calibration(
    saved_config: dict[str, Any],
    temperature: float,
    threshold: float | None,
    folded: float = 1.0,
    not_folded: str | None = None,
) -> None:
    """Write how logits become probabilities into a saved config, given as the mapping that its file holds.

    Args:
        saved_config: of the model.
        temperature: that logits are still to be divided by.
        threshold: below which no label is given.
        folded: that the weights of the last layer were divided by.
        not_folded: why `temperature` is not among these.
    """
    settings = saved_config.setdefault(CONFIG_KEY, {})
    settings["calibration"] = {"temperature": temperature, "threshold": threshold, "folded": folded}
    if not_folded is not None:
        settings["calibration"]["not_folded"] = not_folded


def folded_temperature(config: PretrainedConfig) -> float:
    """Read what the weights of the last layer were divided by; 1 where they never were."""
    with _readable():
        saved = (getattr(config, CONFIG_KEY, None) or {}).get("calibration") or {}
        return float(saved.get("folded", 1.0))


def recorded_calibration(config: PretrainedConfig) -> tuple[float, float | None]:
    """Temperature and threshold that a model was saved with; 1 and None where it was never calibrated."""
    with _readable():
        saved = (getattr(config, CONFIG_KEY, None) or {}).get("calibration") or {}
        temperature, threshold = saved.get("temperature", 1.0), saved.get("threshold")
        if not 0 < temperature < math.inf or not (threshold is None or 0 <= threshold <= 1):
            raise ValueError(f"temperature {temperature}, threshold {threshold}")
        return temperature, threshold


def task_of(config: PretrainedConfig) -> Task:
    """Read the task of a saved model that labelled rows can be read for.

    Raises:
        InputError: see `predicted_task`; a model of scores.
    """
    return task_with_rows(predicted_task(config))


def predicted_task(config: PretrainedConfig) -> Task:
    """Read the task of a saved model: label names from the config, and what stands for them in files as it was saved;
    for a model from elsewhere, ids do.

    Raises:
        InputError: labels and settings that cannot be read.
    """
    with _readable():
        return saved_task(config, getattr(config, CONFIG_KEY, None) or {})


@contextmanager
def _readable() -> Iterator[None]:
    """Whatever somebody may have written into a config: read, or said in a sentence to be something else."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        remedy = "Save the model anew, or mend `id2label` and `sentiment_hf` in its config.json."
        found = f"{type(error).__name__}: {error}"
        raise InputError("labels and settings as this package saves them in a config", found, remedy) from error
