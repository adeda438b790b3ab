"""Plan the runs of a sweep: folders, fingerprints, command lines and outcomes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sentiment_hf.config.options import DataArguments, DecontaminationArguments, ExportArguments, TaskArguments
from sentiment_hf.config.recipe import as_command_line, check_known
from sentiment_hf.config.training_options import teacher_names
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.evaluation.report import METRICS_FILE, read_metrics
from sentiment_hf.modeling.loading import TOKENIZER_FILES
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.sweeps.sweep import RUN_KEYS, Setting, Sweep, recipe_keys
from sentiment_hf.training.arguments import RunArguments, parse_run_arguments
from sentiment_hf.training.folder import RECIPE_FILE
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json

RUNS_FOLDER = "runs"
SETTING_FILE = "setting.yaml"
# Enough to tell settings apart in a listing; the fingerprint does the rest.
_SLUG_LENGTH = 60


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
        setting: what is tried.
        seed: under which.
        recipe: all of its keys but those of the command line.
        swept: the sweep's keys with this run's values.
        overrides: words of the command line, which apply to every run.
        fingerprint: of everything that it depends on but the seed.
        data: fingerprint of its data alone.
        baseline: whether the recipe asks for the baseline.
        folder: of the run.
    """

    setting: Setting
    seed: int
    recipe: dict[str, Any]
    swept: dict[str, Any]
    overrides: tuple[str, ...]
    fingerprint: str
    data: str
    baseline: bool
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.setting.name}, seed {self.seed}"

    @property
    def log(self) -> Path:
        """What it printed; beside its folder, which the run claims for itself."""
        return self.folder.with_name(f"{self.seed}.log")

    @property
    def is_finished(self) -> bool:
        return (self.folder / METRICS_FILE).is_file()

    @property
    def is_begun(self) -> bool:
        return not self.is_finished and (self.folder / RECIPE_FILE).is_file()

    def command(self, baseline: bool) -> list[str]:
        """Build the command of the process that does the run, from where it stopped if it was begun."""
        words = [f"--config={self.folder.with_name(SETTING_FILE)}", *self.overrides, f"--seed={self.seed}"]
        words += [f"--output_dir={self.folder}", f"--baseline={str(baseline).lower()}", "--disable_tqdm=true"]
        if self.is_begun:
            words.append("--resume_from_checkpoint=true")
        return [sys.executable, "-m", "sentiment_hf.training.run", *words]


def plan_runs(sweep: Sweep, folder: Path, overrides: Sequence[str]) -> list[Run]:
    """One run a setting and seed, in the order of the sweep file; nothing is written.

    Args:
        sweep: what the file says.
        folder: of the sweep.
        overrides: `--key value …`, for the base recipe of every run.

    Raises:
        InputError: a setting whose arguments or data files are refused, two settings that are one run, or an override
            of a key that the sweep varies or sets itself.
    """
    if folder.is_file() or (folder / RECIPE_FILE).is_file():
        found = "a file" if folder.is_file() else "a run"
        raise InputError(f"a folder for the sweep at {folder}", found, "Choose another --output_dir.")
    given = [word[2:].partition("=")[0].replace("-", "_") for word in overrides if word.startswith("--")]
    _check_overrides(given, sweep)
    runs: list[Run] = []
    names: dict[str, str] = {}
    for setting in sweep.settings:
        recipe = {key: value for key, value in (sweep.base | setting.keys).items() if value is not None}
        words = [*as_command_line(recipe), *overrides, f"--output_dir={folder / RUNS_FOLDER}"]
        try:
            with _same_environment():
                args = parse_run_arguments(words)
                _ = args.text_settings
            fingerprint, data = fingerprints(args, [*recipe, *given])
        except InputError as error:
            raise InputError(f"{error.expected} in setting {setting.name!r}", error.found, error.remedy) from error
        if fingerprint in names:
            found = f"the same run as {names[fingerprint]!r} and as {setting.name!r}"
            raise InputError("settings that differ", found, "Leave one of them out.")
        names[fingerprint] = setting.name
        resolved = resolved_keys(args, recipe)
        swept = {key: setting.keys.get(key, resolved.get(key)) for key in sweep.swept}
        # A setting that was renamed, or that another sweep here has under its own name, keeps its runs.
        known = sorted((folder / RUNS_FOLDER).glob(f"*-{fingerprint}"))
        home = known[0] if known else folder / RUNS_FOLDER / f"{_slug(setting.name)}-{fingerprint}"
        shared = (recipe, swept, tuple(overrides), fingerprint, data, args.training.baseline)
        runs += [Run(setting, seed, *shared, home / str(seed)) for seed in sweep.seeds]
    return runs


def _check_overrides(given: Sequence[str], sweep: Sweep) -> None:
    known = recipe_keys()
    # transformers' parser takes `--no_baseline` for `--baseline false`.
    names = [name if name in known else name.removeprefix("no_") for name in given]
    check_known(names, known, "the command line")
    for name in names:
        if name in RUN_KEYS:
            remedy = "Seeds are set in the sweep file. A sweep resumes by itself; delete a run's folder to repeat it."
            raise InputError("keys that may apply to every run", f"--{name}", remedy)
        if name in sweep.swept:
            remedy = "Leave it out of the command line or of the sweep."
            raise InputError("keys that the sweep does not vary, on the command line", f"--{name}", remedy)


@contextmanager
def _same_environment() -> Iterator[None]:
    """Restore the environment at the end: transformers leaves choices (of precision) in it, which the runs' processes
    would inherit."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _slug(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name.lower())[:_SLUG_LENGTH].strip("-.") or "setting"


FINISHED, FAILED, PENDING = "finished", "failed", "pending"
# Before the command in a log, once for every time that the run was started.
ATTEMPT = "$ "


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        run: whose.
        status: `finished`, `failed` or `pending`.
        reason: why it failed.
        metrics: what its `metrics.json` holds; empty unless it is finished.
        seconds: of training; None where it is not known, as for a run that was stopped in between.
    """

    run: Run
    status: str
    reason: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None


def read_outcome(run: Run, reason: str = "") -> Outcome:
    """Read a run as its folder shows it; an unfinished one has failed if there is a `reason`."""
    if not run.is_finished:
        return Outcome(run, FAILED if reason else PENDING, reason)
    attempts = 0
    if run.log.is_file():
        lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()
        attempts = sum(line.startswith(ATTEMPT) for line in lines)
    # A run records the seconds since it was last started, which are too few if it went on from a checkpoint.
    seconds = read_json(run.folder / "run.json")["training_seconds"] if attempts <= 1 else None
    return Outcome(run, FINISHED, "", read_metrics(run.folder), seconds)


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
