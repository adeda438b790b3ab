"""Low-rank adapters through peft: put on before training, merged into stock weights after it."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from sentiment_hf.exceptions import InputError, MissingExtraError

KEYS = ("r", "alpha", "dropout", "target_modules")


def add_adapters(model: PreTrainedModel, settings: dict[str, Any]) -> Any:
    """The model with adapters (Hu et al. 2021, "LoRA"); they, the pooler and the head learn, the rest is frozen.

    Args:
        model: a sequence classifier.
        settings: `r` (rank, 8), `alpha` (16), `dropout` (0), `target_modules` (names; peft's own choice for the
            architecture unless told).

    Raises:
        InputError: an unknown setting, or target modules that the model does not have.
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise MissingExtraError("peft", "peft") from error
    unknown = [name for name in settings if name not in KEYS]
    if unknown:
        raise InputError(f"peft settings {', '.join(KEYS)}", ", ".join(unknown), "Check the spelling.")
    # A pooler may be as new as the head: many checkpoints come without one.
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    new = [name for name in ("pooler", "classifier", "score", "rating", "queries") if name in names]
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.get("r", 8),
        lora_alpha=settings.get("alpha", 16),
        lora_dropout=settings.get("dropout", 0.0),
        target_modules=settings.get("target_modules"),
        modules_to_save=new,
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        leaves = (name for name, module in model.named_modules() if not list(module.children()))
        layers = sorted({name.rpartition(".")[2] for name in leaves})
        found = str(settings.get("target_modules", "none named"))
        remedy = f"Layers of this model: {', '.join(layer for layer in layers if layer)}."
        raise InputError("target_modules that the model has", found, remedy) from error


def merge_adapters(model: Any) -> PreTrainedModel:
    """The stock model that the adapters amount to."""
    merged: PreTrainedModel = model.merge_and_unload()
    return merged
