"""The runs of a sweep: their folders, their command lines and how far they are; all checked before the first starts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_hf.evaluation.report import METRICS_FILE
from sentiment_hf.exceptions import InputError
from sentiment_hf.recipe import as_command_line, check_known
from sentiment_hf.studies.fingerprint import fingerprints, resolved_keys
from sentiment_hf.studies.sweep import RUN_KEYS, Setting, Sweep, recipe_keys
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.folder import RECIPE_FILE

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
            remedy = (
                "Seeds stand in the sweep file; a sweep goes on by itself, and a run starts anew without its folder."
            )
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
