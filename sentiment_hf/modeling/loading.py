"""Load the tokenizer and the config of a Hub id or a folder; nothing here needs torch."""

from __future__ import annotations

import json
import logging
import textwrap
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import RepositoryNotFoundError
from packaging.version import InvalidVersion, Version
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer, BertTokenizerFast, PretrainedConfig, PreTrainedTokenizerBase

from sentiment_hf.modeling.adapters import adapter_base, adapter_config, is_adapter
from sentiment_hf.modeling.configuration_bert_heads import (
    AspectBertConfig,
    HeadPrunedBertConfig,
    HierarchicalBertConfig,
    PooledBertConfig,
)
from sentiment_hf.modeling.names import check_there, nothing_at, resolve_model
from sentiment_hf.modeling.tokenizer_files import take_cleaning_out
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.version import __version__

logger = logging.getLogger(__name__)

TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
OWN_CONFIGS = (PooledBertConfig, AspectBertConfig, HierarchicalBertConfig, HeadPrunedBertConfig)
for _config in OWN_CONFIGS:
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    # Saved models bring their code along, for environments without this package.
    _config.register_for_auto_class()

# What files of weights end in, for any framework.
_WEIGHTS = (".safetensors", ".bin", ".h5", ".ckpt", ".msgpack", ".index")
# Characters of what transformers says that are shown.
LONGEST_FOUND = 300
# Fields of a config that are a dimension of some tensor.
_SIZES = ("hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings", "type_vocab_size")
_POSITION_TABLES = ("position_embeddings", "wpe", "embed_positions", "positional")
# These count positions from padding_idx + 1, so that many rows of the table hold no position.
_OFFSET_POSITIONS = (
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "longformer",
    "mpnet",
    "roberta-prelayernorm",
    "data2vec-text",
    "ibert",
    "xmod",
)


def load_config(model: str, revision: str | None = None) -> PretrainedConfig:
    """Load the config of a Hub id, a folder, or a model that comes with the package.

    Raises:
        InputError: there is none, the Hub cannot be reached, or a newer version of this package saved the model.
    """
    model = resolve_model(model)
    check_there(model, revision)
    if is_adapter(model):
        return adapter_config(model, load_config)
    try:
        # Looked at before a class reads it: what a newer version wrote, this one's classes may not take.
        saved, _ = PretrainedConfig.get_config_dict(model, revision=revision)
        check_version(saved, model)
        # Refuses NaN and Infinity, which Python's JSON knows and no field of a config means.
        json.dumps(saved, allow_nan=False, default=str)
        # Code that a model brings along is never run; the classes of our own are registered above.
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
        activation = getattr(config, "hidden_act", "")
        if not isinstance(activation, str):
            # transformers would call whatever stands there, in the middle of the first batch.
            raise InputError(
                f"the name of an activation as hidden_act in {model}", repr(activation), "Fix config.json."
            )
        epsilon = getattr(config, "layer_norm_eps", 0.0)
        if not isinstance(epsilon, int | float):
            # torch would refuse it as late.
            raise InputError(f"a number as layer_norm_eps in {model}", repr(epsilon), "Fix config.json.")
        return config
    except Exception as error:
        # A config that somebody wrote by hand fails anywhere in transformers, and in any way.
        raise not_loadable("a model", model, error) from error


def load_tokenizer(model: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a Hub id, a folder, or a model that comes with the package.

    Raises:
        InputError: the folder has no tokenizer, or the Hub cannot be reached.
    """
    model = resolve_model(model)
    check_there(model, revision)
    folder = Path(model)
    if folder.is_dir() and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        if is_adapter(model):
            return load_tokenizer(adapter_base(model))
        raise InputError(
            f"a tokenizer in {model} ({', '.join(TOKENIZER_FILES[:2])}, …)",
            _listing(folder),
            "Save the tokenizer beside the weights: tokenizer.save_pretrained(folder).",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=False)
        if _is_empty(tokenizer):
            # What transformers 5 makes of a vocabulary that its class for the type does not read.
            raise ValueError(f"{type(tokenizer).__name__} finds no vocabulary there")
    except Exception as error:
        # Many Chinese ALBERTs and RoBERTas come with the vocabulary of BERT and say nothing of it.
        tokenizer = _bert_tokenizer(model, revision)
        if tokenizer is None:
            raise not_loadable("a tokenizer", model, error) from error
        logger.warning("%s has vocab.txt alone: read as the vocabulary of a BERT tokenizer", model)
    if not tokenizer.is_fast:
        found = type(tokenizer).__name__
        raise InputError(
            f"a fast tokenizer for {model}", found, "Convert it: AutoTokenizer.from_pretrained(…).save_pretrained(…)."
        )
    take_cleaning_out(tokenizer)
    return tokenizer


def _is_empty(tokenizer: PreTrainedTokenizerBase) -> bool:
    return len(tokenizer) <= len(set(tokenizer.all_special_ids))


def _bert_tokenizer(model: str, revision: str | None) -> PreTrainedTokenizerBase | None:
    """Load a BERT tokenizer of the model's vocab.txt, where that is its only vocabulary; else return None."""
    folder = Path(model)
    if folder.is_dir() and [name for name in TOKENIZER_FILES if (folder / name).is_file()] != ["vocab.txt"]:
        return None
    try:
        if not folder.is_dir():
            hf_hub_download(model, "vocab.txt", revision=revision)
        tokenizer = BertTokenizerFast.from_pretrained(model, revision=revision)
    except Exception:
        return None
    return None if _is_empty(tokenizer) else tokenizer


def load_config_and_tokenizer(
    model: str, revision: str | None = None
) -> tuple[PretrainedConfig, PreTrainedTokenizerBase]:
    """Both of a saved classifier, padding with the same token.

    Raises:
        InputError: see `load_config`, `load_tokenizer` and `fit_padding`.
    """
    config, tokenizer = load_config(model, revision), load_tokenizer(model, revision)
    fit_padding(config, tokenizer, model)
    return config, tokenizer


def fit_padding(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, model: str) -> None:
    """Let a tokenizer without padding token, as decoders have, pad with the config's or with the end of a text, and
    tell the config, by which a decoder finds the last token of a text.

    Raises:
        InputError: there is neither.
    """
    known = getattr(config, "pad_token_id", None)
    if tokenizer.pad_token_id is None:
        is_token = isinstance(known, int) and 0 <= known < len(tokenizer)
        token = tokenizer.convert_ids_to_tokens(known) if is_token else tokenizer.eos_token
        if token is None:
            remedy = "Name one and save it: tokenizer.pad_token = …; tokenizer.save_pretrained(folder)."
            raise InputError(f"a padding token in {model}", "none, nor an end of text to take for it", remedy)
        tokenizer.pad_token = token
        logger.warning("%s has no padding token: texts are padded with %s", model, token)
    if known is None:
        config.pad_token_id = tokenizer.pad_token_id


def max_positions(config: PretrainedConfig) -> int | None:
    """Return the longest input in tokens that the model has positions for; None where it has no table of positions."""
    table: int | None = config.to_dict().get("max_position_embeddings")
    if not isinstance(table, int):
        # Nonsense in `config_overrides` is refused by `check_sizes`.
        return None
    if config.model_type not in _OFFSET_POSITIONS:
        return table
    return table - (config.pad_token_id or 0) - 1


def check_max_length(max_length: int, config: PretrainedConfig, model: str) -> None:
    """Raise InputError where `max_length` is beyond the model's positions."""
    limit = max_positions(config)
    if limit is not None and max_length > limit:
        found = f"max_length {max_length}"
        raise InputError(
            f"max_length of at most {limit}, the positions of {model}", found, f"Set `max_length: {limit}` or less."
        )


def check_heads(config: PretrainedConfig, model: str) -> None:
    """Raise InputError where the attention heads do not share the hidden size evenly."""
    size, heads = (getattr(config, name, None) for name in ("hidden_size", "num_attention_heads"))
    is_own = getattr(config, "head_dim", None) is not None
    if is_own or not (isinstance(size, int) and isinstance(heads, int)):
        return
    if heads < 1 or size % heads:
        found = f"hidden_size {size} and num_attention_heads {heads}"
        remedy = "Change one of them in config_overrides, or mend the model's config.json."
        raise InputError(f"a hidden_size of {model} that its attention heads divide", found, remedy)


def check_sizes(model: str, config: PretrainedConfig) -> None:
    """Raise InputError where a config asks for more than any tensor of the folder's weights has.

    transformers would draw the rest at random, and a size with some zeros too many would take all memory.
    """
    path = Path(model) / "model.safetensors"
    if not path.is_file():
        return
    try:
        with safe_open(path, "numpy") as weights:
            shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    except Exception as error:
        raise not_loadable("weights", model, error) from error
    largest = max((size for shape in shapes.values() for size in shape), default=0)
    values = config.to_dict()
    if not any(table in name for name in shapes for table in _POSITION_TABLES):
        # Positions are computed (rotary, relative), and their number is no size of a tensor.
        values.pop("max_position_embeddings", None)
    for name, most in (*((name, largest) for name in _SIZES), ("num_hidden_layers", len(shapes))):
        size = values.get(name)
        if size is not None and (not isinstance(size, int) or not 0 <= size <= most):
            remedy = "Fix config.json, or leave the field out of config_overrides."
            raise InputError(f"{name} of at most {most}, as the weights of {model} have", repr(size), remedy)


def check_folder(model: str) -> None:
    """Raise InputError for what looks like a path and is no folder; the Hub would only call it a bad id."""
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if looks_like_path and not Path(model).is_dir():
        raise InputError(f"a model folder at {model}", "nothing there", "Check the path.")


def _listing(folder: Path) -> str:
    """List what a folder holds, for an error."""
    return ", ".join(sorted(item.name for item in folder.iterdir())[:8]) or "an empty folder"


def not_loadable(what: str, model: str, error: Exception) -> InputError:
    """Turn the first line of what transformers or the Hub said into an error of our own."""
    if isinstance(error, InputError):
        return error
    folder = Path(model)
    if what == "weights" and folder.is_dir() and not any(file.suffix in _WEIGHTS for file in folder.iterdir()):
        remedy = "A sweep deletes its runs' weights unless it has --keep_models; train again, or give another folder."
        return InputError(f"weights in {model} (model.safetensors)", _listing(folder), remedy)
    # Cut: transformers counts up every model that it knows.
    if not folder.is_dir() and isinstance(error.__cause__, RepositoryNotFoundError):
        return nothing_at(model, "no such folder, and no such repository on the Hub, or no right to see it")
    first_line = textwrap.shorten((str(error).strip().splitlines() or [""])[0], LONGEST_FOUND, placeholder=" …")
    if not isinstance(error, OSError | ValueError):
        first_line = f"{type(error).__name__}: {first_line}"
    remedy = "Check the name and HF_ENDPOINT; without access to the Hub, give a folder that holds the model."
    return InputError(f"{what} that loads from {model}", first_line.rstrip("."), remedy)


VERSION_KEY = "sentiment_hf_version"


def record_version(config: PretrainedConfig) -> None:
    """Write the installed version into a config that is about to be saved."""
    setattr(config, VERSION_KEY, __version__)


def check_version(saved: dict[str, Any], name: str, installed: str = __version__) -> None:
    """Let a model pass whose settings the installed version knows: saved by its minor version, an older one, or none.

    Args:
        saved: the content of the model's `config.json`.
        name: of the model, for the message.
        installed: the version to hold it against.

    Raises:
        InputError: saved by a newer major or minor version, or what stands there is no version.
    """
    found = saved.get(VERSION_KEY)
    if found is None:
        return
    try:
        version = Version(found)
    except (InvalidVersion, TypeError) as error:
        remedy = f"Correct `{VERSION_KEY}` in its config.json, or take the line out."
        raise InputError(f"a version such as {installed} in {name}", repr(found), remedy) from error
    # Patch releases add no settings.
    if version.release[:2] > Version(installed).release[:2]:
        needed = f"{version.major}.{version.minor}"
        raise InputError(
            f"a model saved by sentiment_hf {installed} or older",
            f"{name}, saved by {found}",
            f"Install that version: pip install --upgrade 'sentiment_hf>={needed}'.",
        )
