"""The output folder of a run: create it, find the last complete checkpoint, resume, and mark it finished."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pandas as pd
import yaml
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from sentiment_hf.config.recipe import read_recipe
from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.labelled import load_labelled
from sentiment_hf.modeling.config_io import CONFIG_KEY, NOT_IN_TOKENIZER, recorded_cleaning
from sentiment_hf.modeling.loading import record_version
from sentiment_hf.modeling.tokenizer_files import left_out, save_tokenizer
from sentiment_hf.tasks import Task
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import contents, move_files, staging_folder, write_text

logger = logging.getLogger(__name__)

RECIPE_FILE = "recipe.yaml"
SPLITS_FOLDER = "splits"
# Written last into a checkpoint, so that a checkpoint cut off in the middle of being written has none or half of one.
_CHECKPOINT_END = "trainer_state.json"


def check_free(folder: Path, overwrite: bool, resume: bool) -> None:
    """Raise InputError where the folder holds something that this run may not replace."""
    if folder.is_file():
        raise InputError(f"a folder for the run at {folder}", "a file", "Choose another --output_dir.")
    if not contents(folder):
        return
    # Whatever was asked for, only a run is ever replaced or gone on with.
    if not (folder / RECIPE_FILE).is_file():
        found = ", ".join(item.name for item in contents(folder)[:5])
        raise InputError(f"an empty folder or a run at {folder}", found, "Choose another --output_dir.")
    if not (overwrite or resume):
        remedy = "Choose another --output_dir, replace it with --overwrite_output_dir, or go on with it: "
        remedy += "--resume_from_checkpoint true."
        raise InputError(f"an empty folder at {folder}", "another run", remedy)


def saved_split(folder: Path, split: str, task: Task) -> pd.DataFrame | None:
    """Read a split that a run saved beside its model, labels as ids; return None where it saved none."""
    path = folder / SPLITS_FOLDER / f"{split}.jsonl"
    return load_labelled(path, task) if path.is_file() else None


def init_run_dir(folder: Path, recipe: dict[str, Any], resume: bool) -> None:
    """Make the folder this run's: emptied unless resumed, with the recipe in it."""
    if folder.exists() and not resume:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECIPE_FILE
    if resume and path.is_file():
        before = read_recipe(path, known=None)
        changed = sorted(key for key in recipe.keys() | before.keys() if recipe.get(key) != before.get(key))
        if changed:
            logger.warning("the resumed run was started with other values of: %s", ", ".join(changed))
    write_text(path, yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False))


def newest_checkpoint(folder: Path, wanted: str | None) -> str | None:
    """Find the checkpoint to go on from.

    Args:
        folder: of the run.
        wanted: `true` for the newest whole one in `folder`, a path for that one, None or `false` for none.

    Returns:
        Its path, or None to start from the beginning.

    Raises:
        InputError: the path given is no whole checkpoint.
    """
    if wanted is None or wanted.lower() == "false":
        return None
    if wanted.lower() != "true":
        if not _is_whole(Path(wanted)):
            raise InputError(
                f"a checkpoint at {wanted}", f"no complete {_CHECKPOINT_END}", "Use an earlier one, or `true`."
            )
        return wanted
    numbered = [
        (int(item.name.split("-")[1]), item) for item in folder.glob("checkpoint-*") if item.name[11:].isdigit()
    ]
    for _, path in sorted(numbered, reverse=True):
        if _is_whole(path):
            return str(path)
        logger.warning("%s was cut off while it was written and is not used", path)
    logger.info("no checkpoint in %s: starting from the beginning", folder)
    return None


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / _CHECKPOINT_END).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def resuming(checkpoint: str | None) -> Iterator[None]:
    """Training from a checkpoint, or from the beginning.

    torch reads the optimizer's and the random generators' state with `weights_only`: numbers and nothing that runs.

    Raises:
        InputError: the checkpoint holds something else, or half of a file.
    """
    try:
        yield
    except (UnpicklingError, EOFError, RuntimeError) as error:
        is_broken = isinstance(error, UnpicklingError | EOFError) or "PytorchStreamReader" in str(error)
        if checkpoint is None or not is_broken:
            raise
        first_line = str(error).strip().partition("\n")[0] or type(error).__name__
        remedy = "It is damaged or from another program. Use an earlier one, or start again."
        raise InputError(f"numbers alone in the checkpoint {checkpoint}", first_line, remedy) from error


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save weights (safetensors), config and tokenizer, the config last: a folder with a config is whole.

    The saved tokenizer cleans as the config says, as far as a normalizer can.
    """
    cleaning = complete_config(model.config)
    with staging_folder(folder) as staging:
        model.save_pretrained(staging)
        # safetensors writes weights that their owner alone can read; a server may be somebody else.
        for weights in staging.glob("*.safetensors"):
            shutil.copymode(staging / "config.json", weights)
        save_tokenizer(staging, tokenizer, cleaning)
        move_files(staging, folder, last="config.json")


def complete_config(config: PretrainedConfig) -> Cleaning | None:
    """Write into a config that is about to be saved by what version, and what of the cleaning its tokenizer cannot do.

    Returns:
        The cleaning, which the tokenizer is to be saved with.
    """
    record_version(config)
    cleaning = recorded_cleaning(config)
    if cleaning is not None:
        getattr(config, CONFIG_KEY)[NOT_IN_TOKENIZER] = left_out(cleaning)
    return cleaning
