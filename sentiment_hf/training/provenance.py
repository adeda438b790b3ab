"""The provenance of a run: the rows, additional data and models it used, by names that reveal no folders."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sentiment_hf.config.training_options import teacher_names
from sentiment_hf.data.preparation import PreparedData
from sentiment_hf.data.sources import PACKAGE_PREFIX
from sentiment_hf.modeling.classifier import SCRATCH
from sentiment_hf.modeling.names import PACKAGED, resolve_model
from sentiment_hf.training.arguments import RunArguments

# Kinds of sources: a file or a folder of somebody's own, the Hub, a PyPI package or this one, or made on the spot.
FILE, FOLDER, HUB, PACKAGE, MADE = "file", "folder", "hub", "package", "made"


def run_sources(args: RunArguments, data: PreparedData) -> dict[str, Any]:
    """Describe the rows and the models of a run, for `run.json` and the model card.

    Returns:
        `splits` (name -> `kind`, `name`, `rows` in use; of a file its `sha256`; of a split that was made here `how`),
        `model` (`kind`, `name`) and, where the run has them, `supplement`, `unlabelled`, `decontaminate_against` and
        `teachers`.
    """
    options, folder = args.data, args.data.data_dir
    files, splits = options.files, {}
    for split, rows in data.splits.items():
        if split in data.made_splits:
            share = options.validation_share if split == "validation" else options.test_share
            how = {"method": options.split_method, "share": share, "seed": options.split_seed}
            entry: dict[str, Any] = {"kind": MADE, "name": "train", "how": how}
        elif files:
            entry = _file(Path(folder or "") / files[split])
        else:
            entry = _named(str(options.dataset), options.dataset_config)
        splits[split] = entry | {"rows": len(rows)}
    found: dict[str, Any] = {"splits": splits, "model": _model(str(args.model.model), args.model.model_revision)}
    if options.supplement is not None:
        source = str(options.supplement["source"])  # type: ignore[index]
        found["supplement"] = _text(source, folder) | {"rows": data.audit["supplement"]["added"]}
    if args.training.unlabelled is not None:
        found["unlabelled"] = [_text(source, folder) for source in args.training.unlabelled]
    held_out = [_text(source, folder) for source in args.decontamination.decontaminate_against or ()]
    held_out += [
        _named(f"{PACKAGE_PREFIX}{name}") for name in args.decontamination.decontaminate_against_packages or ()
    ]
    if held_out:
        found["decontaminate_against"] = held_out
    if teachers := teacher_names(args.training.distill_from):
        found["teachers"] = [_model(name) for name in teachers]
    return found


def _text(source: str, folder: str | None) -> dict[str, Any]:
    """As `load_texts` tells files from other sources."""
    path = Path(folder or "") / source
    return _file(path) if path.suffix and not source.startswith(PACKAGE_PREFIX) else _named(source)


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"kind": FILE, "name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _named(dataset: str, config: str | None = None) -> dict[str, Any]:
    if dataset.startswith(PACKAGE_PREFIX):
        return {"kind": PACKAGE, "name": dataset}
    if Path(dataset).exists():
        return {"kind": FOLDER, "name": Path(dataset).resolve().name}
    return {"kind": HUB, "name": dataset} | ({} if config is None else {"config": config})


def _model(model: str, revision: str | None = None) -> dict[str, Any]:
    if model == SCRATCH:
        return {"kind": MADE, "name": model}
    if model in PACKAGED:
        return {"kind": PACKAGE, "name": model}
    if Path(model).is_dir():
        return {"kind": FOLDER, "name": Path(model).resolve().name}
    return {"kind": HUB, "name": resolve_model(model)} | ({} if revision is None else {"revision": revision})
