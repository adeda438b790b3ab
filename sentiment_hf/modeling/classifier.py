"""The classifier that a recipe names: the weights of a Hub id or a folder, or `scratch` for random ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.loading import load_config, not_loadable
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.modeling.vocabulary import build_wordpiece_tokenizer
from sentiment_hf.tasks import Task

SCRATCH = "scratch"


def scratch_tokenizer(texts: Iterable[str], config_overrides: dict[str, Any]) -> PreTrainedTokenizerBase:
    """A WordPiece tokenizer over the training texts; `vocab_size` in the overrides bounds it."""
    defaults = BertConfig()
    return build_wordpiece_tokenizer(
        texts,
        vocab_size=config_overrides.get("vocab_size", defaults.vocab_size),
        max_length=config_overrides.get("max_position_embeddings", defaults.max_position_embeddings),
    )


def classifier_config(
    model: str,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    num_hidden_layers: int | None = None,
    config_overrides: dict[str, Any] | None = None,
    revision: str | None = None,
) -> PretrainedConfig:
    """The config of the classifier to train.

    Args:
        model: Hub id, folder, `starter`, or `scratch`: a BERT with random weights, shaped by the overrides.
        task: gives the labels.
        tokenizer: gives `scratch` its vocabulary size and padding id.
        num_hidden_layers: keep the first so many layers.
        config_overrides: any other config fields (`attention_probs_dropout_prob`, …).
        revision: of a Hub id.

    Raises:
        InputError: a field that the config does not have, or more layers than the checkpoint holds.
    """
    overrides = dict(config_overrides or {})
    labels = {"id2label": task.id2label, "label2id": task.label2id}
    if model == SCRATCH:
        base: PretrainedConfig = BertConfig()
        overrides |= {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    else:
        base = load_config(model, revision)
        depth = getattr(base, "num_hidden_layers", None)
        if num_hidden_layers is not None and depth is not None and num_hidden_layers > depth:
            found = f"num_hidden_layers {num_hidden_layers}"
            raise InputError(f"at most {depth} layers, which {model} has", found, "The rest would be random.")
    if num_hidden_layers is not None:
        overrides["num_hidden_layers"] = num_hidden_layers
    known = base.to_dict()
    unknown = [name for name in overrides if name not in known]
    if unknown:
        found = ", ".join(unknown)
        raise InputError(f"config_overrides that {base.model_type} has", found, "Check the spelling.")
    return type(base).from_dict({**known, **overrides, **labels})


def load_classifier(
    model: str, config: PretrainedConfig, attn_implementation: str | None = None, revision: str | None = None
) -> PreTrainedModel:
    """A stock sequence classifier in FP32, its weights those of `model` or random ones.

    Call `set_seed` first: the classification head, at least, is drawn at random.
    """
    if model == SCRATCH:
        # from_config takes the implementation as a keyword on both majors; None means the library's own choice.
        return AutoModelForSequenceClassification.from_config(config, attn_implementation=attn_implementation)
    try:
        # Without the dtype transformers 5 would train in whatever precision the checkpoint was stored in.
        return AutoModelForSequenceClassification.from_pretrained(
            resolve_model(model),
            config=config,
            revision=revision,
            dtype=torch.float32,
            attn_implementation=attn_implementation,
            ignore_mismatched_sizes=False,
        )
    except (OSError, ValueError) as error:
        raise not_loadable("weights", model, error) from error
