"""A saved model with smaller layers, ready to be fine-tuned again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sentiment_hf.compression.structure import (
    first_order_importance,
    kept_count,
    prune_heads,
    prune_layers,
    prune_neurons,
    prune_width,
)
from sentiment_hf.data.padding import pad_rows
from sentiment_hf.data.tokenization import TextSettings, encode
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import check_empty, move_files, size_mb, staging_folder, write_json
from sentiment_hf.modeling.classifier import load_classifier
from sentiment_hf.modeling.config_io import recorded_settings
from sentiment_hf.modeling.configuration_bert_heads import HeadPrunedBertConfig
from sentiment_hf.modeling.loading import load_config_and_tokenizer
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.training.folder import save_model

logger = logging.getLogger(__name__)

REPORT_FILE = "pruning.json"
MAX_IMPORTANCE_ROWS = 1000
BATCH_SIZE = 32


def importance_batches(
    tokenizer: PreTrainedTokenizerBase, settings: TextSettings, rows: pd.DataFrame
) -> list[dict[str, torch.Tensor]]:
    """Labelled rows as padded batches of similar length, with `labels`."""
    encoded = encode(tokenizer, rows["text"], settings)
    order = sorted(range(len(rows)), key=lambda row: len(encoded["input_ids"][row]))
    labels = rows["label"].tolist()
    batches = []
    for start in range(0, len(order), BATCH_SIZE):
        places = order[start : start + BATCH_SIZE]
        padded = pad_rows({name: [values[row] for row in places] for name, values in encoded.items()}, tokenizer, 8)
        batch = {name: torch.from_numpy(array) for name, array in padded.items()}
        batches.append(batch | {"labels": torch.tensor([labels[row] for row in places])})
    return batches


def prune_structure(
    model: str | Path,
    rows: pd.DataFrame,
    output: Path,
    ffn: float = 1.0,
    heads: float = 1.0,
    width: float = 1.0,
    layers: Sequence[int] | None = None,
    seed: int = 42,
) -> dict[str, Any]:
    """Write a model with smaller layers; what it lost is won back by fine-tuning, best with `distill_from` the model.

    Args:
        model: folder, Hub id or packaged model of a BERT classifier of one label.
        rows: training rows (`text`, `label` as ids) by which importance is judged; a seeded sample of
            `MAX_IMPORTANCE_ROWS` of them is used.
        output: folder for the smaller model and `pruning.json`.
        ffn: share of the feed-forward neurons to keep, the same number in every layer.
        heads: share of the attention heads to keep, the same number in every layer.
        width: share of the hidden dimensions to keep, and with them of the heads: the checkpoint stays a stock BERT.
        layers: which layers to keep, from 0; None for all.
        seed: of the sample.

    Returns:
        The report: shape and size before and after, and how important each head was.

    Raises:
        InputError: another architecture, nothing to prune, a share that keeps nothing, or no rows.
    """
    name = resolve_model(str(model))
    config, tokenizer = load_config_and_tokenizer(name)
    if type(config).model_type not in ("bert", HeadPrunedBertConfig.model_type):
        found = f"{config.model_type} in {name}"
        raise InputError("a stock BERT classifier to prune", found, "Prune before heads of our own are trained on it.")
    if ffn == heads == width == 1 and layers is None:
        raise InputError("something to prune", "all of it kept", "Give --ffn, --heads, --width or --layers.")
    if heads < 1 and width < 1:
        raise InputError("one of heads and width", "both", "width takes heads out in the same measure.")
    if rows.empty:
        raise InputError("training rows to judge importance by", "none", "Give --importance_file.")
    check_empty(output)
    # Before anything is weighed, which takes long.
    kept_count(config.intermediate_size, ffn, "neurons")
    kept_count(config.num_attention_heads, heads, "heads")
    kept_count(config.num_attention_heads, width, "heads")
    settings = recorded_settings(config, tokenizer, name)
    if settings.is_sliding:
        # Importance is a matter of the encoder; the first chunk of a document will do.
        settings = TextSettings(settings.cleaning, settings.max_length)
    classifier = load_classifier(name, config)
    before = _shape(classifier)
    if layers is not None:
        prune_layers(classifier, layers)
    sample = rows.sample(min(len(rows), MAX_IMPORTANCE_ROWS), random_state=seed)
    batches = importance_batches(tokenizer, settings, sample)
    importance = first_order_importance(classifier, batches, show_progress=True)
    if ffn < 1:
        prune_neurons(classifier, importance.neurons, ffn)
    if width < 1:
        classifier = prune_width(classifier, importance, width)
    if heads < 1:
        classifier = prune_heads(classifier, importance.heads, heads)
    with staging_folder(output) as staging:
        save_model(staging, classifier, tokenizer)
        after = _shape(classifier) | {"size_mb": size_mb(staging / "model.safetensors")}
        report: dict[str, Any] = {"model": name, "importance_rows": len(sample), "before": before, "after": after}
        report["heads_importance"] = importance.heads.round(4).tolist()
        write_json(staging / REPORT_FILE, report)
        move_files(staging, output, last="config.json")
    return report


def _shape(model: PreTrainedModel) -> dict[str, int]:
    config = model.config
    return {
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "neurons": config.intermediate_size,
        "heads": config.num_attention_heads,
        "parameters": model.num_parameters(),
    }
