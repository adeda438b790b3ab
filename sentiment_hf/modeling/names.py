"""What a recipe's `model:` may say besides a Hub id or a folder: the models that come with the package, and aliases."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from sentiment_hf.exceptions import InputError

logger = logging.getLogger(__name__)

STARTER_FOLDER = Path(__file__).parents[1] / "starter"
STARTER = "starter"
STARTER_REVIEWS = "starter-reviews"
PACKAGED = {STARTER: STARTER_FOLDER, STARTER_REVIEWS: STARTER_FOLDER / "reviews"}
# Names in circulation that the Hub does not know, and the model that is meant.
ALIASES = {"hfl/chinese-tinybert-l4": "hfl/rbt4-h312"}


@cache
def resolve_model(model: str) -> str:
    """A packaged model's name -> its folder, an alias -> the id that is meant, anything else as it is.

    Raises:
        InputError: the packaged model's files are not there.
    """
    if model in ALIASES:
        logger.warning("%s is not on the Hub; taking %s, the model of that shape", model, ALIASES[model])
        return ALIASES[model]
    if model not in PACKAGED:
        return model
    folder = PACKAGED[model]
    if not (folder / "config.json").is_file():
        remedy = "Reinstall sentiment_hf; its wheel holds these files."
        raise InputError(f"the model {model} that comes with the package", f"no files in {folder}", remedy)
    return str(folder)
