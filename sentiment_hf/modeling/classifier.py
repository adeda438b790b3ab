"""Build the classifier that a recipe names: from a Hub id or a folder, or `scratch` for random weights."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sentiment_hf.modeling.adapters import adapter_base, is_adapter, with_adapter
from sentiment_hf.modeling.configuration_bert_heads import (
    AspectBertConfig,
    HeadPrunedBertConfig,
    HierarchicalBertConfig,
    PooledBertConfig,
)
from sentiment_hf.modeling.loading import check_heads, check_sizes, load_config, not_loadable
from sentiment_hf.modeling.modeling_bert_heads import (
    AspectBertForSequenceClassification,
    HeadPrunedBertForSequenceClassification,
    PooledBertForSequenceClassification,
)
from sentiment_hf.modeling.modeling_hierarchical import HierarchicalBertForSequenceClassification
from sentiment_hf.modeling.names import given_name, resolve_model
from sentiment_hf.modeling.vocabulary import build_wordpiece_tokenizer
from sentiment_hf.tasks import Task
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

SCRATCH = "scratch"
_OTHER_HEADS = ("ForTokenClassification", "ForMultipleChoice")
# What a config says of its own class and of where it came from, which is not inherited by another class.
_OF_THE_CLASS = (
    "model_type",
    "architectures",
    "auto_map",
    "transformers_version",
    "pooling",
    "aspects",
    "rating",
    "hierarchical",
    # Of what it was trained for: one label is learned here.
    "problem_type",
)

_OWN_MODELS: dict[type[PretrainedConfig], type[PreTrainedModel]] = {
    PooledBertConfig: PooledBertForSequenceClassification,
    AspectBertConfig: AspectBertForSequenceClassification,
    HierarchicalBertConfig: HierarchicalBertForSequenceClassification,
    HeadPrunedBertConfig: HeadPrunedBertForSequenceClassification,
}
# By `Task.head`.
_HEADS: dict[str, type[PretrainedConfig]] = {"aspects": AspectBertConfig}
for _config, _model in _OWN_MODELS.items():
    AutoModelForSequenceClassification.register(_config, _model, exist_ok=True)
    _model.register_for_auto_class("AutoModelForSequenceClassification")


def scratch_tokenizer(texts: Iterable[str], config_overrides: dict[str, Any]) -> PreTrainedTokenizerBase:
    """Build a WordPiece tokenizer over the training texts; `vocab_size` in the overrides bounds it."""
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
    pooling: str = "pooler",
    hierarchical: str = "none",
) -> PretrainedConfig:
    """Build the config of the classifier to train.

    Args:
        model: Hub id, folder, `starter`, or `scratch`: a BERT with random weights, shaped by the overrides.
        task: gives the labels.
        tokenizer: gives `scratch` its vocabulary size and padding id.
        num_hidden_layers: keep the first so many layers.
        config_overrides: any other config fields (`attention_probs_dropout_prob`, …).
        revision: of a Hub id.
        pooling: `pooler` (the stock classifier), `cls`, `mean` or `attention`.
        hierarchical: `none`, or what reads over the chunks of a document.

    Raises:
        InputError: a field that the config does not have, more layers than the checkpoint holds, or an encoder that
            the heads of our own do not fit on.
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
    kind = _config_class(base, task, pooling, hierarchical, model)
    if kind in (PooledBertConfig, AspectBertConfig):
        overrides["pooling"] = pooling
    if kind is HierarchicalBertConfig:
        # A chunk's pooler would be one more layer to learn.
        overrides |= {"hierarchical": hierarchical, "pooling": "cls" if pooling == "cls" else "mean"}
    overrides |= task.config_fields()
    inherited = {name: value for name, value in known.items() if name not in _OF_THE_CLASS}
    try:
        config = kind.from_dict({**inherited, **overrides, **labels})
    except Exception as error:
        # transformers 5 checks fields with an error of its own.
        found = " ".join(str(error).split())
        raise InputError(f"values that a {kind.model_type} config takes", found, "Fix them.") from error
    check_heads(config, model)
    heads = known.get("num_attention_heads")
    if model != SCRATCH and overrides.get("num_attention_heads", heads) != heads:
        # The weights would load, cut up in another way than they were trained in.
        found = f"num_attention_heads {overrides['num_attention_heads']}"
        raise InputError(f"the {heads} attention heads of {model}", found, "Leave it out, or start from `scratch`.")
    return config


def _config_class(
    base: PretrainedConfig, task: Task, pooling: str, hierarchical: str, model: str
) -> type[PretrainedConfig]:
    """Choose the class of the config: the stock one wherever it will do, so that the saved model is stock as well."""
    is_bert = isinstance(base, BertConfig)
    if isinstance(base, HeadPrunedBertConfig):
        # Its weights have no other class; a stock head on it is fine-tuned further.
        if task.head != "stock" or pooling != "pooler" or hierarchical != "none":
            remedy = "Prune after this head was trained on the whole encoder."
            raise InputError("an encoder with all of its heads for a head of our own", model, remedy)
        return HeadPrunedBertConfig
    if task.head != "stock" or pooling != "pooler" or hierarchical != "none":
        if not is_bert:
            what = f"pooling: {pooling}" if hierarchical == "none" else f"hierarchical: {hierarchical}"
            what = f"the heads of {task.kind}" if task.head != "stock" else what
            remedy = "Choose a model whose config says model_type: bert, as those of hfl do."
            raise InputError(f"an encoder of BERT's kind for {what}", f"{base.model_type} in {model}", remedy)
        if task.head != "stock":
            if hierarchical != "none":
                remedy = f"Set `hierarchical: none`: chunks are aggregated for {task.kind} as well."
                raise InputError("one label for a hierarchical model", f"task: {task.name}", remedy)
            return _HEADS[task.head]
        return PooledBertConfig if hierarchical == "none" else HierarchicalBertConfig
    return BertConfig if is_bert else type(base)


def load_classifier(
    model: str,
    config: PretrainedConfig,
    attn_implementation: str | None = None,
    revision: str | None = None,
    new_head: bool = False,
) -> PreTrainedModel:
    """Load a sequence classifier in FP32, its weights those of `model` or random ones.

    Call `set_seed` first: the classification head, at least, may be drawn at random.

    Args:
        model: Hub id, folder, a packaged model, or `scratch`.
        config: from `classifier_config`, or the model's own.
        attn_implementation: eager or sdpa; None for transformers' choice.
        revision: of a Hub id.
        new_head: whether a head of another size, as a classifier of another task has, may be replaced by a new one.

    Raises:
        InputError: it cannot be loaded, its weights do not fit the config, or it has no trained head and `new_head` is
            false.
    """
    if model == SCRATCH:
        try:
            # from_config takes the implementation as a keyword on both majors; None means the library's own choice.
            return AutoModelForSequenceClassification.from_config(config, attn_implementation=attn_implementation)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            raise InputError("a config that makes a model", found, "Fix `config_overrides`.") from error
    check_sizes(resolve_model(model), config)
    adapter = is_adapter(resolve_model(model))
    try:
        # Without the dtype transformers 5 would train in whatever precision the checkpoint was stored in.
        classifier, info = AutoModelForSequenceClassification.from_pretrained(
            adapter_base(model) if adapter else resolve_model(model),
            config=config,
            revision=revision,
            dtype=torch.float32,
            attn_implementation=attn_implementation,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
            # Of an older .bin file torch reads the tensors and refuses anything else that a pickle can be.
            weights_only=True,
        )
    except Exception as error:
        raise not_loadable("weights", model, error) from error
    # Names on transformers 4, names with both shapes on 5.
    mismatched = sorted({key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]})
    body = [name for name in mismatched if name.startswith(f"{classifier.base_model_prefix}.")]
    if body:
        remedy = "Leave the fields that change shapes out of config_overrides, or start from `scratch`."
        raise InputError(f"weights of {model} in the config's shapes", f"others in {', '.join(body[:3])}", remedy)
    missing = sorted(info["missing_keys"])
    if adapter:
        classifier, brought = with_adapter(classifier, model)
        missing, mismatched = ([name for name in names if name not in brought] for names in (missing, mismatched))
    if not new_head:
        _check_head(model, config, missing, mismatched)
    if mismatched:
        logger.warning("%s has a head of another size: starting with a new one", model)
    return classifier


def _check_head(model: str, config: PretrainedConfig, missing: Sequence[str], mismatched: Sequence[str]) -> None:
    """Raise InputError where a part of the classifier would be drawn at random, or was trained to judge tokens."""
    remedy = f"It is what `sentiment-hf train --model {given_name(model)}` starts from; here, give the run's folder."
    if mismatched:
        found = f"others in {', '.join(mismatched[:3])}"
        raise InputError(f"weights of {model} in the config's shapes", found, f"Its head is another task's. {remedy}")
    if missing:
        found = f"a model without a trained head: no weights for {', '.join(missing[:3])}"
        raise InputError(f"a trained classifier in {given_name(model)}", found, remedy)
    # With some architectures these have the very weights of a classifier of texts.
    named = config.architectures if isinstance(config.architectures, list) else []
    other = [name for name in map(str, named) if name.endswith(_OTHER_HEADS)]
    if other:
        raise InputError(f"a trained classifier of texts in {given_name(model)}", other[0], remedy)
