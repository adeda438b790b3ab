"""A folder that holds an adapter (LoRA) as peft saves it: its base, its labels, and the classifier of both."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import PretrainedConfig, PreTrainedModel

from sentiment_hf.modeling.names import ADAPTER_CONFIG, check_there, resolve_model
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

logger = logging.getLogger(__name__)

ADAPTER_WEIGHTS = "adapter_model.safetensors"
# What peft puts before the names of the base's weights.
_PREFIX = "base_model.model."


def is_adapter(model: str) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    folder = Path(model)
    return (folder / ADAPTER_CONFIG).is_file() and not any(
        file.name.startswith(("model", "pytorch_model")) for file in folder.iterdir()
    )


def adapter_base(model: str) -> str:
    """Find the folder or Hub id of an adapter's base.

    Raises:
        InputError: the base is not at hand, or the adapter's config cannot be read.
        MissingExtraError: peft is not installed.
    """
    if find_spec("peft") is None:
        raise MissingExtraError("peft", "peft")
    folder = Path(model)
    try:
        base = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
        if not isinstance(base, str) or not base:
            raise ValueError(f"base_model_name_or_path {base!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "Save the adapter anew, or mend the file."
        raise InputError(f"an adapter that names its base in {folder / ADAPTER_CONFIG}", str(error), remedy) from error
    if (folder / base).is_dir():
        base = str(folder / base)
    try:
        base = resolve_model(base)
        check_there(base)
    except InputError as error:
        remedy = f"Put it there, or name its folder as base_model_name_or_path in {folder / ADAPTER_CONFIG}."
        raise InputError(f"the base model {base} of the adapter in {model}", error.found, remedy) from error
    if is_adapter(base):
        raise InputError(f"a whole model as the base of {model}", f"an adapter in {base}", "Merge the base first.")
    return base


def adapter_config(model: str, load: Callable[[str], PretrainedConfig]) -> PretrainedConfig:
    """Load the config of an adapter on its base: the base's, with the label names of a config beside the adapter, if
    any, and as many labels as the adapter's head has.

    Args:
        model: the adapter's folder.
        load: a base or folder -> its config.
    """
    base = adapter_base(model)
    beside = (Path(model) / "config.json").is_file()
    config = PretrainedConfig.from_pretrained(model) if beside else None
    loaded = load(base)
    if config is not None and config.num_labels:
        loaded.id2label, loaded.label2id = config.id2label, config.label2id
    shapes = [shape for shape in _shapes(model).values() if len(shape) == 2]
    width = min((shape[0] for shape in shapes), default=loaded.num_labels)
    if width != loaded.num_labels:
        logger.warning("%s has %d labels and no names for them: LABEL_0 to LABEL_%d", model, width, width - 1)
        loaded.num_labels = width
    return loaded


def _shapes(model: str) -> dict[str, list[int]]:
    """Read the shapes of the weights that an adapter's folder holds whole, by their names in the base: its head."""
    path = Path(model) / ADAPTER_WEIGHTS
    try:
        with safe_open(path, "numpy") as weights:
            return {
                name.removeprefix(_PREFIX): weights.get_slice(name).get_shape()
                for name in weights.keys()  # noqa: SIM118
                if ".lora_" not in name
            }
    except Exception as error:
        found = f"{type(error).__name__}: {error}" if path.is_file() else "none"
        raise InputError(f"the adapter's weights in {path}", found, "Save the adapter anew with peft.") from error


def with_adapter(classifier: PreTrainedModel, model: str) -> tuple[PreTrainedModel, set[str]]:
    """Merge an adapter into its base; return the classifier and the names of the weights the adapter brought whole.

    Raises:
        InputError: an adapter that cannot be merged, or not one of this base.
    """
    from peft import PeftModel

    try:
        adapted: Any = PeftModel.from_pretrained(classifier, model, torch_device="cpu")
        merged: PreTrainedModel = adapted.merge_and_unload()
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [""])[0][:300]
        remedy = "Give the base that it was trained on; only adapters that merge into it (LoRA and its kind) load."
        raise InputError(
            f"an adapter of its base in {model}", f"{type(error).__name__}: {first_line}", remedy
        ) from error
    return merged, set(_shapes(model))
