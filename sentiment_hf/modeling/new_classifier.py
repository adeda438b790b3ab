"""Give a checkpoint a head for new labels, and extend its position embeddings."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.modeling.classifier import classifier_config, load_classifier
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.modeling.loading import check_max_length, fit_padding, max_positions
from sentiment_hf.tasks import Task
from sentiment_hf.utils.exceptions import InputError


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


logger = logging.getLogger(__name__)


def extend_positions(model: PreTrainedModel, positions: int) -> None:
    """Stretch the table of position embeddings of a BERT, in place, to a longer maximal input.

    New rows lie linearly between the old ones (as Chen et al. 2023, "Position Interpolation", do it for rotary
    positions). Neighbouring tokens then stand closer together than the model has ever seen, so that it has to be
    fine-tuned, and even then may do worse than sliding windows.

    Args:
        model: a classifier whose encoder learned a table of absolute positions.
        positions: of the longest input, at least what the model has.

    Raises:
        InputError: no such table, or fewer positions than there are.
    """
    table = next((module for name, module in model.named_modules() if name.endswith("position_embeddings")), None)
    before = max_positions(model.config)
    kind = model.config.model_type
    if not isinstance(table, torch.nn.Embedding) or before is None:
        raise InputError("a table of absolute positions for extend_positions", f"none in a {kind}", "Leave it out.")
    if positions < before:
        raise InputError(f"extend_positions of at least {before}, which the model has", str(positions), "Leave it out.")
    # Some models count from an offset: the rows before it hold no position and stay as they are.
    offset = table.num_embeddings - before
    old = table.weight.detach()
    stretched = F.interpolate(old[offset:].T.unsqueeze(0), size=positions, mode="linear", align_corners=True)
    table.weight = torch.nn.Parameter(torch.cat([old[:offset], stretched.squeeze(0).T]).contiguous())
    table.num_embeddings = offset + positions
    model.config.max_position_embeddings = offset + positions
    embeddings = next(module for module in model.modules() if getattr(module, "position_embeddings", None) is table)
    for name in ("position_ids", "token_type_ids"):
        if isinstance(buffer := getattr(embeddings, name, None), torch.Tensor):
            filled = (
                torch.arange(offset + positions) if name == "position_ids" else torch.zeros(offset + positions).long()
            )
            embeddings.register_buffer(name, filled.unsqueeze(0).to(buffer.device), persistent=False)
    logger.warning(
        "extend_positions: %d positions stretched to %d; an unstable way to read long texts, sliding windows "
        "(`truncation: sliding`) are the steady one",
        before,
        positions,
    )
