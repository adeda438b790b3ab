"""What a run depends on, as a short name: two runs share a folder only if nothing but seed and folder differ."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.loading import TOKENIZER_FILES
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.options import DataArguments, DecontaminationArguments, ExportArguments, TaskArguments
from sentiment_hf.studies.sweep import RUN_KEYS
from sentiment_hf.training.arguments import RunArguments
from sentiment_hf.training_options import teacher_names

DATA_FILES = ("train_file", "validation_file", "test_file")
LENGTH = 10
# What changes nothing about what a training run computes: where things lie, what is shown, what comes after.
UNRELATED_KEYS = {
    *RUN_KEYS,
    *(item.name for item in dataclasses.fields(ExportArguments)),
    "baseline",
    "data_dir",
    "cache_dir",
    "preprocessing_num_workers",
    "report_to",
    "disable_tqdm",
}
# Data keys that act on the rows of a model alone, not on those that the baseline is fitted and everything is scored on.
_TEXT_KEYS = {item.name for item in dataclasses.fields(TextSettings)} - {"cleaning"}
_TEXT_KEYS |= {"pad_to_multiple_of", "max_train_rows"}
_DATA_KEYS = {"supplement_files"} | {
    item.name for part in (TaskArguments, DataArguments, DecontaminationArguments) for item in dataclasses.fields(part)
} - _TEXT_KEYS


def resolved_keys(args: RunArguments, given: Iterable[str]) -> dict[str, Any]:
    """Collect the project's own keys as `as_recipe` gives them, and of transformers' fields those that were given."""
    keys = args.as_recipe()
    own = {name: getattr(args.training, name, None) for name in given if name not in keys}
    return keys | {name: getattr(value, "value", value) for name, value in own.items() if value is not None}


def fingerprints(args: RunArguments, given: Iterable[str]) -> tuple[str, str]:
    """Short hashes of what a run depends on.

    Args:
        args: of the run.
        given: the keys that recipe and command line name; what they leave out has its default.

    Returns:
        One of everything (keys, the content of data files and of a model's folder, this package's version), and one of
        the data alone. Seed and folder are in neither.

    Raises:
        InputError: a data file is not there.
    """
    keys = {name: value for name, value in resolved_keys(args, given).items() if name not in UNRELATED_KEYS}
    keys |= _contents(args)
    data = {name: value for name, value in keys.items() if name in _DATA_KEYS}
    return _hash(keys | {"version": version("sentiment_hf")}), _hash(data)


def _contents(args: RunArguments) -> dict[str, Any]:
    """Keys that name files, with their content in place of the name."""
    folder = Path(args.data.data_dir or "")
    contents: dict[str, Any] = {}
    for name in DATA_FILES:
        path = getattr(args.data, name)
        if path is not None:
            if not (folder / path).is_file():
                raise InputError(f"a data file at {folder / path}", "nothing there", "Check the path.")
            contents[name] = _digest(folder / path)
    sources = args.decontamination.decontaminate_against or ()
    if sources:
        contents["decontaminate_against"] = [
            _digest(folder / source) if (folder / source).is_file() else source for source in sources
        ]
    supplement: dict[str, Any] = args.data.supplement or {}  # type: ignore[assignment]
    others = {"supplement": [supplement.get("source")], "unlabelled": args.training.unlabelled or ()}
    for name, named in others.items():
        found = [_digest(folder / source) for source in named if source and (folder / source).is_file()]
        if found:
            contents[f"{name}_files"] = found
    models = {"model": [args.model.model or ""], "distill_from": teacher_names(args.training.distill_from)}
    for name, folders in models.items():
        if any(one and Path(resolve_model(one)).is_dir() for one in folders):
            contents[name] = [part for one in folders for part in _model_contents(one)]
    return contents


def _model_contents(model: str) -> list[Any]:
    """List what training reads of a model's folder, or a model's name; an export rewrites other files of a run."""
    folder = Path(resolve_model(model))
    patterns = ("*.safetensors", "*.bin", "config.json", *TOKENIZER_FILES)
    files = sorted({file for pattern in patterns for file in folder.glob(pattern)})
    return [(file.name, _digest(file)) for file in files] or [model]


def _digest(path: Path) -> str:
    """Hash the content of a file, and add its ending, which says how it is read."""
    facts = path.stat()
    return _sha256(path, facts.st_mtime_ns, facts.st_size) + "".join(path.suffixes)


@cache
def _sha256(path: Path, mtime: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(keys: dict[str, Any]) -> str:
    # Only the outer keys are sorted: the order of `labels` is that of the ids.
    text = json.dumps(sorted(keys.items()), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:LENGTH]
