"""Prune the layers or the vocabulary of a saved model."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.padding import pad_rows
from sentiment_hf.data.tokenization import TextSettings, cleaned_texts, encode
from sentiment_hf.modeling.classifier import load_classifier
from sentiment_hf.modeling.config_io import recorded_settings
from sentiment_hf.modeling.configuration_bert_heads import HeadPrunedBertConfig
from sentiment_hf.modeling.loading import load_config_and_tokenizer
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.modeling.vocabulary import prune_embeddings, prune_tokenizer, required_tokens, whole_texts
from sentiment_hf.training.folder import save_model
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import check_empty, move_files, size_mb, staging_folder, write_json

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


VOCABULARY_REPORT_FILE = "vocabulary.json"
# Below this share of texts that keep all of their tokens, whoever prunes should look at what is lost.
EXPECTED_COVERAGE = 0.99
MAX_EXAMPLES = 5
_TEXTS_AT_A_TIME = 1000
# Without ##: BERT's normalizer makes each Han character a word, so that none stands within one.
_HAN = re.compile(r"^[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]$")


@dataclass(frozen=True)
class Coverage:
    """How much of a corpus a pruned vocabulary spells as before.

    Attributes:
        texts: their number.
        whole: share of texts with all of their tokens kept, whose logits are bit for bit the same as before.
        tokens: share of all tokens that were kept.
        examples: tokens that were lost most, with how often each occurred.
    """

    texts: int
    whole: float
    tokens: float
    examples: dict[str, int]


def count_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], settings: TextSettings) -> Counter[int]:
    """How often each token occurs in texts that are cleaned as the model cleans them."""
    counts: Counter[int] = Counter()
    for ids in _encoded(tokenizer, texts, settings):
        counts.update(ids)
    return counts


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], settings: TextSettings) -> Iterator[list[int]]:
    backend = whole_texts(tokenizer)
    for start in range(0, len(texts), _TEXTS_AT_A_TIME):
        block = cleaned_texts(texts[start : start + _TEXTS_AT_A_TIME], settings)
        for encoding in backend.encode_batch(block, add_special_tokens=False):
            yield encoding.ids


def kept_tokens(
    tokenizer: PreTrainedTokenizerBase, counts: Counter[int], min_count: int, han_rank: int | None
) -> list[int]:
    """Ids to keep, ascending: special tokens, Han characters, and whatever the corpus uses often enough.

    Args:
        tokenizer: the model's.
        counts: of tokens in the corpus.
        min_count: a token is kept from so many occurrences on.
        han_rank: so many single Han characters are kept whether the corpus has them or not, the more frequent ones
            first and among equals those with the smaller id; None for all.
    """
    vocabulary = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True)
    kept = required_tokens(tokenizer)
    characters = sorted((-counts[index], index) for token, index in vocabulary.items() if _HAN.match(token))
    kept |= {index for _, index in characters[:han_rank]}
    kept |= {index for index, count in counts.items() if count >= min_count}
    return sorted(kept)


def coverage(
    tokenizer: PreTrainedTokenizerBase, kept: Sequence[int], texts: Sequence[str], settings: TextSettings
) -> Coverage:
    """How much of some texts the kept tokens spell as before."""
    alive = set(kept)
    lost: Counter[int] = Counter()
    whole = tokens = 0
    for ids in _encoded(tokenizer, texts, settings):
        missing = [index for index in ids if index not in alive]
        lost.update(missing)
        whole += not missing
        tokens += len(ids)
    examples = {tokenizer.convert_ids_to_tokens(index): count for index, count in lost.most_common(MAX_EXAMPLES)}
    return Coverage(len(texts), whole / len(texts), 1 - lost.total() / max(tokens, 1), examples)


def prune_vocabulary(
    model: str | Path,
    corpus: Sequence[Any],
    output: Path,
    min_count: int = 1,
    han_rank: int | None = None,
    second_corpus: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Write a model whose vocabulary is cut to what a corpus uses; everything else stays as it is.

    Args:
        model: folder, Hub id or packaged model of a classifier.
        corpus: texts, best those that it was trained on; blank ones are passed over.
        output: folder for the smaller model: weights, tokenizer and the report as `vocabulary.json`.
        min_count: see `kept_tokens`.
        han_rank: see `kept_tokens`.
        second_corpus: other texts, to see what is lost on them.

    Returns:
        The report: tokens and megabytes before and after, and the coverage of both corpora.

    Raises:
        InputError: no texts, a model in the output folder, or a tokenizer that is neither Unigram nor WordPiece.
    """
    name = resolve_model(str(model))
    texts = [text for text in corpus if not is_blank(text)]
    if not texts:
        raise InputError("texts in the corpus", "none", "Give files with the text that the model is for.")
    if min_count < 1 or (han_rank is not None and han_rank < 0):
        found = f"min_count {min_count}, han_rank {han_rank}"
        raise InputError("min_count of at least 1 and han_rank of at least 0", found, "1 keeps every token in use.")
    check_empty(output)
    config, tokenizer = load_config_and_tokenizer(name)
    settings = recorded_settings(config, tokenizer, name)
    kept = kept_tokens(tokenizer, count_tokens(tokenizer, texts, settings), min_count, han_rank)
    covered = {"corpus": coverage(tokenizer, kept, texts, settings)}
    others = [text for text in second_corpus or () if not is_blank(text)]
    if others:
        covered["second_corpus"] = coverage(tokenizer, kept, others, settings)
    for which, share in covered.items():
        if share.whole < EXPECTED_COVERAGE:
            lost = ", ".join(f"{token} ({count})" for token, count in share.examples.items())
            logger.warning("%.1f %% of the texts of the %s lose tokens: %s", 100 * (1 - share.whole), which, lost)
    classifier: PreTrainedModel = load_classifier(name, config)
    before = {"vocab_size": len(tokenizer), "parameters": classifier.num_parameters()}
    small = prune_tokenizer(tokenizer, kept)
    prune_embeddings(classifier, kept, small.pad_token_id)
    # Ids of special tokens in the config would point at others now.
    for role in ("bos", "eos", "sep", "cls"):
        old = getattr(config, f"{role}_token_id", None)
        if old is not None:
            setattr(classifier.config, f"{role}_token_id", kept.index(old) if old in kept else None)
    small.truncation_side = tokenizer.truncation_side
    report: dict[str, Any] = {
        "before": before,
        "after": {"vocab_size": len(kept), "parameters": classifier.num_parameters()},
        "min_count": min_count,
        "han_rank": han_rank,
        "coverage": {which: vars(share) for which, share in covered.items()},
    }
    with staging_folder(output) as staging:
        save_model(staging, classifier, small)
        report["after"]["size_mb"] = size_mb(staging / "model.safetensors")
        write_json(staging / VOCABULARY_REPORT_FILE, report)
        move_files(staging, output, last="config.json")
    return report
