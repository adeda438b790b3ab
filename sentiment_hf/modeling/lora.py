"""LoRA through peft: adapters added before training and merged into stock weights after it."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from sentiment_hf.modeling.forward import reads_documents
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

LORA_KEYS = ("r", "alpha", "dropout", "target_modules")


def add_adapters(model: PreTrainedModel, settings: dict[str, Any]) -> Any:
    """Add adapters to the model (Hu et al. 2021, "LoRA"); they, the pooler and the head learn, the rest is frozen.

    Args:
        model: a sequence classifier, none over chunks.
        settings: `r` (rank, 8), `alpha` (16), `dropout` (0), `target_modules` (names, or one regular expression; peft's
            own choice for the architecture unless told).

    Raises:
        InputError: an unknown setting, a value that is none, target modules that the model does not have, or a
            hierarchical model.
        MissingExtraError: peft is not installed.
    """
    if reads_documents(model):
        # peft's wrapper would freeze what reads over the chunks, and hide the bound on chunks from it.
        remedy = "Leave `peft` out, or set freeze_encoder: true, which trains what reads over the chunks alone."
        raise InputError("a model that reads one chunk at a time, for peft", "a hierarchical one", remedy)
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise MissingExtraError("peft", "peft") from error
    unknown = [name for name in settings if name not in LORA_KEYS]
    if unknown:
        raise InputError(f"peft settings {', '.join(LORA_KEYS)}", ", ".join(unknown), "Check the spelling.")
    _check_values(model, settings)
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
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise _no_such_modules(model, str(settings.get("target_modules", "none named"))) from error
    # A parameter of the head itself, which is in no module of its own.
    for name, parameter in adapted.named_parameters():
        if name.rpartition(".")[2] == "thresholds":
            parameter.requires_grad = True
    return adapted


def _check_values(model: PreTrainedModel, settings: dict[str, Any]) -> None:
    rank, alpha, dropout = settings.get("r", 8), settings.get("alpha", 16), settings.get("dropout", 0.0)
    if type(rank) is not int or rank < 1:
        raise InputError("a whole peft rank r of at least 1", repr(rank), "8 is the default.")
    if type(alpha) not in (int, float) or alpha <= 0:
        raise InputError("a peft alpha above 0", repr(alpha), "16 is the default.")
    if type(dropout) not in (int, float) or not 0 <= dropout < 1:
        raise InputError("a peft dropout from 0 to below 1", repr(dropout), "0 is the default.")
    targets = settings.get("target_modules")
    if isinstance(targets, list):
        # peft is content with one that is there.
        names = [name for name, _ in model.named_modules()]
        missing = [str(target) for target in targets if not any(f".{name}".endswith(f".{target}") for name in names)]
        if missing:
            raise _no_such_modules(model, ", ".join(missing))


def _no_such_modules(model: PreTrainedModel, found: str) -> InputError:
    leaves = (name for name, module in model.named_modules() if not list(module.children()))
    layers = sorted({name.rpartition(".")[2] for name in leaves})
    remedy = f"Layers of this model: {', '.join(layer for layer in layers if layer)}."
    return InputError("target_modules that the model has", found, remedy)


def merge_adapters(model: Any) -> PreTrainedModel:
    """Merge the adapters, and return the stock model that they amount to."""
    merged: PreTrainedModel = model.merge_and_unload()
    return merged
