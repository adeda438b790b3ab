"""Which version of this package saved a model, and whether the installed one can read it."""

from __future__ import annotations

from typing import Any

from packaging.version import InvalidVersion, Version
from transformers import PretrainedConfig

from sentiment_hf import __version__
from sentiment_hf.exceptions import InputError

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
