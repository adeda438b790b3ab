"""Load finished runs from folders, and group those that differ only in the seed."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pandas as pd

from sentiment_hf.config.recipe import read_recipe
from sentiment_hf.data.delimited import plain_cell
from sentiment_hf.evaluation.report import METRICS_FILE, Predictions, common_name, read_metrics, read_predictions
from sentiment_hf.sweeps.plan import DATA_FILES, LENGTH, SETTING_FILE, UNRELATED_KEYS
from sentiment_hf.sweeps.sweep import as_word
from sentiment_hf.sweeps.table import RESULTS_FILE
from sentiment_hf.training.folder import RECIPE_FILE
from sentiment_hf.training.records import LINES_FILE
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json

RECORD_FILE, SPLITS_FOLDER = "run.json", "splits"
# What a report is made of.
_METRICS_KEYS, _RECORD_KEYS = ("fp32", "split", "rows", "task"), ("seed", "training_seconds", "environment")
_NAME_LENGTH = 80
_FINGERPRINT = re.compile(rf"-([0-9a-f]{{{LENGTH}}})$")


@dataclass(frozen=True)
class FoundRun:
    """A finished run.

    Attributes:
        folder: of the run.
        recipe: its keys.
        metrics: what `metrics.json` holds.
        record: what `run.json` holds.
        fingerprint: equal for runs that differ in seed and folder alone.
        title: its setting's name in the sweep that it is of, or None.
    """

    folder: Path
    recipe: dict[str, Any]
    metrics: dict[str, Any]
    record: dict[str, Any]
    fingerprint: str
    title: str | None

    @property
    def seed(self) -> int:
        return int(self.record["seed"])

    @property
    def model_scores(self) -> dict[str, Any]:
        """The scores of the trained model on the held-out split, and under `validation` on validation."""
        return dict(self.metrics["fp32"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """Losses and scores by step."""
        return self.record.get("history") or []

    @cached_property
    def predictions(self) -> Predictions | None:
        """Its predictions for the held-out rows; None where it did not keep them."""
        return read_predictions(self.folder)

    @property
    def held_out_file(self) -> Path:
        return self.folder / SPLITS_FOLDER / f"{self.metrics['split']}.jsonl"

    @cached_property
    def held_out(self) -> pd.DataFrame:
        """The held-out rows, `text` and named labels among their columns."""
        return pd.read_json(self.held_out_file, lines=True, dtype=False, convert_dates=False)

    @cached_property
    def data(self) -> str:
        """A short name of its rows: how many each split has, and what stands in those that it kept."""
        splits = (self.folder / SPLITS_FOLDER / f"{split}.jsonl" for split in ("validation", "test"))
        content = b"".join(file.read_bytes() for file in splits if file.is_file())
        content += json.dumps(self.metrics["rows"], sort_keys=True).encode()
        return hashlib.sha256(content).hexdigest()[:LENGTH]

    def has_other_rows(self, other: FoundRun) -> bool:
        """Whether the two were given different rows; training rows are told apart by what each run wrote down."""
        digests = {self.record.get("data"), other.record.get("data")} - {None}
        return self.data != other.data or len(digests) > 1


@dataclass
class FoundSetting:
    """Runs that differ in the seed alone.

    Attributes:
        name: for tables.
        runs: by seed, ascending.
        axes: the keys that some setting has another value of, with this one's values.
    """

    name: str
    runs: list[FoundRun]
    axes: dict[str, Any] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    def without(self, key: str) -> str:
        """All but one of its axes, as one word to compare by."""
        return repr({name: value for name, value in self.axes.items() if name != key})


def find_runs(paths: Sequence[Path]) -> tuple[list[FoundRun], list[tuple[str, str]]]:
    """Find the runs in some folders: of a sweep, of runs, or of folders that hold runs.

    Returns:
        The finished ones, and the names of the others with the reasons why they are left out.

    Raises:
        InputError: a folder that is not there or holds no finished run.
    """
    found: dict[Path, FoundRun] = {}
    skipped: dict[Path, tuple[str, str]] = {}
    for path in paths:
        if not path.is_dir():
            raise InputError(f"a folder of runs at {path}", "nothing there", "Check the path.")
        rows = _sweep_rows(path)
        for folder in _candidates(path, list(rows)):
            if folder in found or folder in skipped:
                continue
            row = rows.get(folder, {})
            try:
                found[folder] = _read(folder, row.get("setting"))
            except _HalfWritten as reason:
                # Not the whole path: a report travels.
                name = str(folder.relative_to(path)) if folder != path else path.name
                why = [row.get("reason") or str(reason), last_words(folder)]
                skipped[folder] = (name, "; ".join(part for part in why if part))
    if not found:
        said = "; ".join(f"{name}: {reason}" for name, reason in skipped.values()) or "none"
        raise InputError("at least one finished run", said, "Train first, or check the path.")
    return list(found.values()), list(skipped.values())


def group(runs: Sequence[FoundRun]) -> list[FoundSetting]:
    """Group runs into settings, in the order in which they came.

    Raises:
        InputError: two runs with the same fingerprint and other data, or with the same seed as well.
    """
    groups: dict[str, list[FoundRun]] = {}
    for run in runs:
        groups.setdefault(run.fingerprint, []).append(run)
    for members in groups.values():
        for run in members[1:]:
            if run.has_other_rows(members[0]):
                found = f"other rows in {run.folder} than in {members[0].folder}"
                remedy = "The data were changed in between: run one of them anew, or leave it out."
                raise InputError("the same data in runs with the same fingerprint", found, remedy)
        seeds = [run.seed for run in members]
        twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
        if twice is not None:
            same = " and ".join(str(run.folder) for run in members if run.seed == twice)
            raise InputError("one run of a setting for each seed", f"seed {twice} in {same}", "Leave one of them out.")
    varied = _varied([members[0].recipe for members in groups.values()])
    settings: list[FoundSetting] = []
    for members in groups.values():
        axes = {key: members[0].recipe.get(key) for key in varied}
        ordered = sorted(members, key=lambda run: run.seed)
        name = _name(ordered, axes)
        if name in [setting.name for setting in settings]:
            name = f"{name} {members[0].fingerprint}"
        settings.append(FoundSetting(name, ordered, axes))
    return settings


def _name(runs: Sequence[FoundRun], axes: dict[str, Any]) -> str:
    """Name a setting as the sweep does, or by what differs in it or, where that is too much, by the runs' own name."""
    if runs[0].title:
        return runs[0].title
    named = " ".join(f"{key}={as_word(value)}" for key, value in axes.items())
    return named if 0 < len(named) <= _NAME_LENGTH else common_name([run.folder.name for run in runs])


class _HalfWritten(Exception):
    """Why a run is left out."""


def _candidates(path: Path, known: list[Path]) -> list[Path]:
    """Folders that are runs or were meant to be, those of a sweep's table in its order first."""
    folders = [path] if (path / RECIPE_FILE).is_file() else [file.parent for file in sorted(path.rglob(RECIPE_FILE))]
    # A run that failed before it claimed its folder has left its log alone.
    homes = [file.parent for file in sorted(path.rglob(SETTING_FILE))]
    begun = [home / log.stem for home in homes for log in sorted(home.glob("*.log"))]
    return list(dict.fromkeys([*known, *folders, *begun]))


def _sweep_rows(path: Path) -> dict[Path, dict[str, str]]:
    """Of a sweep's folder: its runs' folders, in the table's order, with their rows of it."""
    file = path / RESULTS_FILE
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [{key: plain_cell(value) for key, value in row.items()} for row in csv.DictReader(lines)]
    # The sweep's folder may have moved since.
    return {path.joinpath(*Path(row["folder"]).parts[-3:]): row for row in rows}


def _read(folder: Path, title: str | None) -> FoundRun:
    if not (folder / METRICS_FILE).is_file():
        begun = folder.is_dir() and any(folder.iterdir())
        raise _HalfWritten(f"no {METRICS_FILE}" if begun else "it never began")
    try:
        recipe = read_recipe(folder / RECIPE_FILE, known=None)
        metrics, record = read_metrics(folder), read_json(folder / RECORD_FILE)
        setting = folder.with_name(SETTING_FILE)
        if setting.is_file():
            # transformers' own fields stand in the setting alone.
            recipe = read_recipe(setting, known=None) | recipe
    except (OSError, ValueError) as error:
        raise _HalfWritten(f"not readable ({type(error).__name__})") from error
    if not isinstance(metrics, dict) or not isinstance(record, dict):
        raise _HalfWritten("no mappings in its records")
    missing = [name for name in _METRICS_KEYS if name not in metrics]
    missing += [name for name in _RECORD_KEYS if name not in record]
    if missing:
        raise _HalfWritten(f"no {missing[0]} in its records")
    if not (folder / SPLITS_FOLDER / f"{metrics['split']}.jsonl").is_file():
        raise _HalfWritten("no held-out rows beside it")
    keys = {key: value for key, value in recipe.items() if key not in UNRELATED_KEYS}
    of_sweep = _FINGERPRINT.search(folder.parent.name)
    text = json.dumps(sorted(keys.items()), ensure_ascii=False, default=str)
    own = hashlib.sha256(text.encode("utf-8")).hexdigest()[:LENGTH]
    run = FoundRun(folder, keys, metrics, record, of_sweep[1] if of_sweep else own, title)
    try:
        rows = len(run.held_out)
        predicted = rows if run.predictions is None else len(run.predictions.labels)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise _HalfWritten(f"rows or predictions not readable ({type(error).__name__})") from error
    if not rows == predicted == metrics["rows"].get(metrics["split"], rows):
        raise _HalfWritten(f"{rows:,} held-out rows, {predicted:,} predictions and other figures in its metrics")
    return run


def _varied(recipes: Sequence[dict[str, Any]]) -> list[str]:
    """Keys that do not have the same value everywhere; where data lie is told by what is in them."""
    keys = dict.fromkeys(key for recipe in recipes for key in recipe if key not in DATA_FILES)
    return [key for key in keys if len({json.dumps(recipe.get(key), sort_keys=True) for recipe in recipes}) > 1]


def last_words(folder: Path) -> str:
    """How far a run came that did not finish, by its own log."""
    file = folder / LINES_FILE
    records: list[dict[str, Any]] = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ():
        try:
            records.append(json.loads(line))
        except ValueError:
            # The line that the run was stopped in.
            break
    steps = [record["step"] for record in records if "step" in record]
    if not steps:
        return ""
    scores = [record["eval_macro_f1"] for record in records if "eval_macro_f1" in record]
    return f"reached step {max(steps):,}" + (f", best macro-F1 on validation {100 * max(scores):.2f}" if scores else "")
