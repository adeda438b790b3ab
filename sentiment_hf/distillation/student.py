"""Build teacher, student and their tokenizers from a recipe."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from sentiment_hf.distillation.options import RANDOM, TEACHER_LAYERS, TOKEN_LOSSES, LossArguments, StudentArguments
from sentiment_hf.modeling.loading import check_heads, check_max_length, load_config, load_tokenizer, not_loadable
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.modeling.vocabulary import choose_tokens, prune_embeddings, prune_tokenizer
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@dataclass
class Pair:
    """Who learns from whom.

    Attributes:
        teacher: an encoder, its vocabulary cut along with the student's where that was asked for.
        student: an encoder.
        tokenizer: the student's.
        teacher_tokenizer: the teacher's where it is another one, else None.
        layers: the teacher's layer that each layer of the student matches, counted from 0.
    """

    teacher: PreTrainedModel
    student: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    teacher_tokenizer: PreTrainedTokenizerBase | None
    layers: Sequence[int]


def check_pair(args: StudentArguments, losses: LossArguments, max_length: int) -> None:
    """Everything about teacher and student that can be refused before text and weights are loaded.

    Raises:
        InputError: a student deeper than its teacher, layers that do not fit, different tokenizers with a loss on
            tokens, or more tokens than either has positions for.
    """
    teacher = load_config(str(args.teacher))
    layers: Sequence[int] = args.layers  # type: ignore[assignment]
    own = args.student not in (TEACHER_LAYERS, RANDOM)
    depth = load_config(args.student).num_hidden_layers if own else len(layers)
    if depth > teacher.num_hidden_layers:
        found = f"a student with {depth}"
        remedy = "Choose fewer layers, or a deeper teacher."
        raise InputError(f"at most the teacher's {teacher.num_hidden_layers} layers", found, remedy)
    if len(layers) != depth:
        found = f"{len(layers)} in `layers`"
        raise InputError(f"a layer of the teacher for each of the student's {depth}", found, "Name as many.")
    if max(layers) >= teacher.num_hidden_layers or sorted(set(layers)) != list(layers):
        expected = f"rising layers from 0 to {teacher.num_hidden_layers - 1}"
        raise InputError(expected, str(layers), "Count the teacher's layers from 0.")
    check_max_length(max_length, teacher, str(args.teacher))
    if own:
        check_max_length(max_length, load_config(args.student), args.student)
        if args.vocab_size is not None:
            remedy = "Leave `vocab_size` out, or start from the teacher's layers."
            raise InputError("a student of the teacher's own tokens for vocab_size", args.student, remedy)
        if args.config_overrides:
            remedy = "Leave them out, or start with teacher_layers or random."
            raise InputError("config_overrides for a student that is made here", args.student, remedy)
        _other_tokenizer(args, losses)


def load_pair(args: StudentArguments, losses: LossArguments, texts: Sequence[str]) -> Pair:
    """Load the teacher and make or load the student; call `set_seed` first, for the weights drawn at random.

    Args:
        args: checked by `check_pair`.
        losses: their weights.
        texts: the corpus, for the vocabulary.
    """
    layers: list[int] = args.layers  # type: ignore[assignment]
    tokenizer = load_tokenizer(str(args.teacher))
    teacher = load_encoder(str(args.teacher), attn_implementation=args.attn_implementation)
    if args.student not in (TEACHER_LAYERS, RANDOM):
        other = _other_tokenizer(args, losses)
        config = _without_dropout(load_config(args.student), args.dropout)
        student = load_encoder(args.student, config, args.attn_implementation)
        _check_parts(student, other or tokenizer, losses)
        return Pair(teacher, student, other or tokenizer, tokenizer if other else None, layers)
    if args.vocab_size is not None:
        kept = choose_tokens(tokenizer, texts, args.vocab_size, args.min_character_count)
        logger.info("vocabulary: %d of %d tokens kept", len(kept), len(tokenizer))
        tokenizer = prune_tokenizer(tokenizer, kept)
        # The teacher reads the same tokens as the student, so that their hidden states stand side by side.
        prune_embeddings(teacher, kept, tokenizer.pad_token_id)
    overrides: dict[str, Any] = args.config_overrides or {}  # type: ignore[assignment]
    config = _without_dropout(student_config(teacher.config, len(layers), overrides), args.dropout)
    if args.student == RANDOM:
        student = AutoModel.from_config(config, attn_implementation=args.attn_implementation)
    else:
        student = copy_layers(teacher, layers, config, args.attn_implementation)
    _check_parts(student, tokenizer, losses)
    return Pair(teacher, student, tokenizer, None, layers)


def _check_parts(student: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, losses: LossArguments) -> None:
    """Raise InputError where a loss needs a part that the student does not have."""
    if losses.pooler_cosine > 0 and not any(name.startswith("pooler") for name, _ in student.named_parameters()):
        raise InputError("a student with a pooler for pooler_cosine", "none", "Set pooler_cosine: 0.")
    if losses.mlm > 0 and tokenizer.mask_token_id is None:
        raise InputError("a tokenizer with a mask token for mlm", "none", "Set mlm: 0.")


def restore_dropout(student: PreTrainedModel, args: StudentArguments) -> None:
    """Put the config's dropout back to what fine-tuning expects: that of the model the student came from."""
    own = args.student not in (TEACHER_LAYERS, RANDOM)
    origin = load_config(args.student if own else str(args.teacher)).to_dict() | (args.config_overrides or {})
    for name in DROPOUTS:
        if name in origin:
            setattr(student.config, name, origin[name])


def _without_dropout(config: PretrainedConfig, dropout: float) -> PretrainedConfig:
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)
    return config


def _way_of_cutting(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return a fast tokenizer's parts, without the padding and truncation that some call before it was saved left in
    it."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: part for name, part in state.items() if name not in ("padding", "truncation")}


def _other_tokenizer(args: StudentArguments, losses: LossArguments) -> PreTrainedTokenizerBase | None:
    """Load the student's own tokenizer where it cuts text in another way than the teacher's; else return None."""
    own, teacher = load_tokenizer(args.student), load_tokenizer(str(args.teacher))
    if _way_of_cutting(own) == _way_of_cutting(teacher):
        return None
    asked = [name for name in losses.active() if name in TOKEN_LOSSES]
    if asked:
        found = f"two tokenizers and {', '.join(asked)}"
        remedy = "Set these to 0; sentence_cosine, pooler_cosine and mlm work with any two tokenizers."
        raise InputError("one tokenizer for losses on tokens", found, remedy)
    return own


# BERT and its relatives (RoBERTa, ELECTRA, XLM-R, …) number their layers so.
_LAYER = re.compile(r"^(encoder\.layer\.)(\d+)\.")


def load_encoder(
    model: str, config: PretrainedConfig | None = None, attn_implementation: str | None = None
) -> PreTrainedModel:
    """Load the encoder of a Hub id or folder in FP32; weights that the checkpoint lacks (a pooler) are drawn at random.

    Raises:
        InputError: it cannot be loaded.
    """
    try:
        encoder: PreTrainedModel = AutoModel.from_pretrained(
            resolve_model(model),
            config=config,
            dtype=torch.float32,
            attn_implementation=attn_implementation,
            trust_remote_code=False,
            weights_only=True,
        )
    except Exception as error:
        raise not_loadable("weights", model, error) from error
    return encoder


def student_config(teacher: PretrainedConfig, num_layers: int, overrides: dict[str, Any]) -> PretrainedConfig:
    """Copy the teacher's config with another depth and other fields.

    Raises:
        InputError: a field that the config does not have, or heads that do not share the hidden size.
    """
    known = teacher.to_dict()
    unknown = [name for name in overrides if name not in known]
    if unknown:
        found = ", ".join(unknown)
        raise InputError(f"config_overrides that {teacher.model_type} has", found, "Check the spelling.")
    config = type(teacher).from_dict({**known, **overrides, "num_hidden_layers": num_layers})
    check_heads(config, "the student")
    return config


def copy_layers(
    teacher: PreTrainedModel, layers: Sequence[int], config: PretrainedConfig, attn_implementation: str | None = None
) -> PreTrainedModel:
    """Build a student that starts from the teacher: its embeddings, its pooler, and its layer `layers[i]` as layer `i`.

    Args:
        teacher: an encoder with BERT's names of layers.
        layers: counted from 0.
        config: of the student; the same shape but for the depth.
        attn_implementation: of the student.

    Raises:
        InputError: another architecture, or another shape.
    """
    student: PreTrainedModel = AutoModel.from_config(config, attn_implementation=attn_implementation)
    place = {layer: index for index, layer in enumerate(layers)}
    weights = {}
    for name, tensor in teacher.state_dict().items():
        match = _LAYER.match(name)
        if match is None:
            weights[name] = tensor
        elif int(match[2]) in place:
            weights[f"{match[1]}{place[int(match[2])]}.{name[match.end() :]}"] = tensor
    expected = {name: tensor.shape for name, tensor in student.state_dict().items()}
    found = {name: tensor.shape for name, tensor in weights.items()}
    if expected != found:
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        remedy = "Keep the teacher's shape, or start with `student: random`."
        raise InputError("a student of the teacher's shape, but for its depth", f"{different[0]} differs", remedy)
    student.load_state_dict(weights)
    return student
