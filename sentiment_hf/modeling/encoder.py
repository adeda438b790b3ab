"""Encoders without a head: loaded as a teacher, or made as a student of chosen layers of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.loading import check_heads, not_loadable
from sentiment_hf.modeling.names import resolve_model

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
