"""A classifier that is about to be trained: a checkpoint with a head for the task, and all that its config records."""

from __future__ import annotations

import inspect
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.classifier import classifier_config, load_classifier
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.modeling.loading import check_max_length, fit_padding
from sentiment_hf.tasks import Task


def new_classifier(
    name: str,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    settings: TextSettings,
    seed: int,
    *,
    extend_positions: int | None = None,
    attn_implementation: str | None = None,
    revision: str | None = None,
    **shape: Any,
) -> PreTrainedModel:
    """Load a classifier to be trained, with task and text settings in its config; the tokenizer is fitted to it.

    Args:
        name: Hub id, folder, a packaged model or `scratch`.
        task: gives the labels.
        tokenizer: changed in place: padding, length, and no segments where the model takes none.
        settings: how texts become tokens.
        seed: of a new head's weights.
        extend_positions: to how many positions the model will be stretched; None for those that it has.
        attn_implementation: eager or sdpa; None for transformers' choice.
        revision: of a Hub id.
        shape: see `classifier_config`.

    Raises:
        InputError: see `classifier_config`, `fit_padding`, `check_max_length` and `load_classifier`.
    """
    config = classifier_config(name, task, tokenizer, revision=revision, **shape)
    fit_padding(config, tokenizer, name)
    if extend_positions is None:
        check_max_length(settings.max_length, config, name)
    elif settings.max_length > extend_positions:
        expected = f"max_length of at most extend_positions, {extend_positions}"
        raise InputError(expected, str(settings.max_length), "Raise the one or lower the other.")
    record_settings(config, tokenizer, task, settings)
    # The classification head is drawn at random, so the seed comes first.
    set_seed(seed)
    model = load_classifier(name, config, attn_implementation, revision, new_head=True)
    takes_segments = "token_type_ids" in inspect.signature(model.forward).parameters
    if not takes_segments or not (hasattr(config, "type_vocab_size") or config.model_type == "xlnet"):
        # BERT's tokenizer makes segments for any model. GPT-2 would add the first token's embedding to every token, and
        # its ONNX graph would not; the saved tokenizer makes none.
        names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
        # The first for this run, the second for what is saved.
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names
    return model
