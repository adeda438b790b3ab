"""What a run was made of, as the card says it: by the run's own record, or for an older run by its recipe."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import Any

from sentiment_hf.publishing.run import FinishedFolder
from sentiment_hf.training.provenance import FILE, FOLDER, HUB, MADE, PACKAGE

# Keys of recipes and records that name files.
FILE_KEYS = {"train": "train_file", "validation": "validation_file", "test": "test_file"}
NAMING_KEYS = (*FILE_KEYS.values(), "source", "sources", "decontaminate_against", "unlabelled", "data")


def sources_of(run: FinishedFolder) -> dict[str, Any]:
    """Return `sources` of `run.json`; of a run that is older than that, what its recipe and its audit still tell."""
    if "sources" in run.record:
        return dict(run.record["sources"])
    recipe, splits = run.recipe, {}
    has_files = any(recipe.get(key) for key in FILE_KEYS.values())
    for split, rows in run.metrics["rows"].items():
        if recipe.get(FILE_KEYS[split]):
            entry = {"kind": FILE, "name": Path(recipe[FILE_KEYS[split]]).name}
        elif has_files or split not in run.audit:
            entry = {"kind": MADE, "name": "train"}
        else:
            dataset = str(recipe.get("dataset", ""))
            entry = {"kind": PACKAGE if dataset.startswith("package:") else HUB, "name": dataset}
        splits[split] = entry | {"rows": rows}
    return {"splits": splits}


def published_keys(run: FinishedFolder, keys: dict[str, Any]) -> dict[str, Any]:
    """Keys of the recipe without what the run did not read, and with names in the place of folders of its own."""
    recipe, sources = dict(keys), sources_of(run)
    if sources["splits"]["train"]["kind"] == FILE:
        recipe = {key: value for key, value in recipe.items() if key not in ("dataset", "dataset_config")}
    elif sources["splits"]["train"]["kind"] == FOLDER and "dataset" in recipe:
        recipe["dataset"] = sources["splits"]["train"]["name"]
    if sources.get("model", {}).get("kind") == FOLDER and "model" in recipe:
        recipe["model"] = sources["model"]["name"]
    if teachers := [teacher["name"] for teacher in sources.get("teachers", ()) if "distill_from" in recipe]:
        recipe["distill_from"] = teachers[0] if len(teachers) == 1 else teachers
    return recipe


def file_names(value: Any) -> Any:
    """Files that a record names, without their folders; Hub ids and everything else as it is."""
    if isinstance(value, list):
        return [file_names(item) for item in value]
    if isinstance(value, str) and "/" in value.replace("\\", "/") and PureWindowsPath(value).suffix:
        return PureWindowsPath(value).name
    return value
