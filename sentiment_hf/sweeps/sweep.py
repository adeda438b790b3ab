"""Read a sweep file (base recipe, grid, list or search, seeds) into settings."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_hf.config.recipe import check_known, read_recipe
from sentiment_hf.config.training_options import FINE_TUNING_PARTS
from sentiment_hf.evaluation.report import TITLES
from sentiment_hf.tasks import SingleLabelTask
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.utils.exceptions import InputError

SWEEP_KEYS = ("base", "grid", "list", "search", "seeds")
# What a sweep gives each of its runs itself.
RUN_KEYS = ("seed", "output_dir", "overwrite_output_dir", "resume_from_checkpoint")


@dataclass(frozen=True)
class Setting:
    """One line of the table: what is tried, under every seed.

    Attributes:
        title: its name in `list:`, or None.
        axes: its place in the grid, key -> value.
        keys: recipe keys that differ from the base, those of the grid included.
    """

    title: str | None
    axes: dict[str, Any]
    keys: dict[str, Any]

    @property
    def name(self) -> str:
        words = [] if self.title is None else [self.title]
        return " ".join([*words, *(f"{key}={as_word(value)}" for key, value in self.axes.items())])


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says.

    Attributes:
        name: of the file, without its ending.
        base: keys of the base recipe, without those of `RUN_KEYS`.
        settings: every named setting crossed with the grid, in the order of the file.
        seeds: under which each setting runs.
        search: in place of settings, what they are searched in; None where they are listed.
    """

    name: str
    base: dict[str, Any]
    settings: list[Setting]
    seeds: list[int]
    search: Search | None = None

    @property
    def swept(self) -> list[str]:
        """The keys that some setting sets, in the order of the file."""
        return list(dict.fromkeys(key for setting in self.settings for key in setting.keys))


def recipe_keys() -> set[str]:
    """Every key that a fine-tuning recipe may have."""
    parts = (*FINE_TUNING_PARTS, SentimentTrainingArguments)
    return {item.name for part in parts for item in dataclasses.fields(part) if item.init}


def as_word(value: Any) -> str:
    """Format a recipe's value for a name or a table."""
    if value is None:
        return "default"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_sweep(path: Path) -> Sweep:
    """Read the sweep of a file; the base recipe is looked for beside it.

    Raises:
        InputError: a key that a sweep or a recipe does not know, nothing to vary, an axis that is no list of different
            values, a key that is varied twice or that a sweep sets itself, or no seeds.
    """
    keys = read_recipe(path, SWEEP_KEYS)
    if not isinstance(keys.get("base"), str):
        raise InputError(f"the base recipe in {path}", as_word(keys.get("base")), "Write it as `base: plain.yaml`.")
    base = read_recipe(path.parent / keys["base"], recipe_keys())
    base = {key: value for key, value in base.items() if key not in RUN_KEYS}
    if "search" in keys:
        if "grid" in keys or "list" in keys:
            raise InputError(f"a search, or a grid and a list, in {path}", "both", "Give each a file of its own.")
        search = read_search(keys["search"], path)
        _check_swept(search.space, path)
        return Sweep(path.stem, base, [], _read_seeds(keys.get("seeds"), path), search)
    if "grid" not in keys and "list" not in keys:
        raise InputError(f"a grid or a list in {path}", "neither", "Write what varies as `grid: {key: [values]}`.")
    grid = _read_grid(keys["grid"], path) if "grid" in keys else {}
    named = _read_list(keys["list"], path) if "list" in keys else {None: {}}
    for title, own in named.items():
        twice = next((key for key in own if key in grid), None)
        if twice is not None:
            raise InputError(f"each key varied once in {path}", f"{twice!r} in grid and in {title!r}", "Keep one.")
    settings = [
        Setting(title, axes, own | axes)
        for title, own in named.items()
        for axes in (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))
    ]
    return Sweep(path.stem, base, settings, _read_seeds(keys.get("seeds"), path))


def _read_grid(grid: Any, path: Path) -> dict[str, list[Any]]:
    if not isinstance(grid, dict) or not grid:
        remedy = "Write it as `grid: {max_length: [128, 256]}`."
        raise InputError(f"axes in the grid of {path}", _found(grid), remedy)
    _check_swept(grid, path)
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"a list of values for {key!r} in {path}", _found(values), f"Write it as `{key}: […]`.")
        if len({repr(value) for value in values}) < len(values):
            raise InputError(f"different values for {key!r} in {path}", as_word(values), "Leave the repeated one out.")
    return grid


def _read_list(named: Any, path: Path) -> dict[str | None, dict[str, Any]]:
    if not isinstance(named, dict) or not named:
        remedy = "Write it as `list: {plain: {}, R-Drop: {rdrop_alpha: 1.0}}`."
        raise InputError(f"named settings in the list of {path}", _found(named), remedy)
    for title, own in named.items():
        if not isinstance(own, dict):
            remedy = "Write `{}` for the base as it is."
            raise InputError(f"recipe keys for {title!r} in {path}", _found(own), remedy)
        _check_swept(own, path)
    return {str(title): own for title, own in named.items()}


def _read_seeds(seeds: Any, path: Path) -> list[int]:
    # Python calls true and false integers, too.
    numbers = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not numbers or not seeds or len(set(seeds)) < len(seeds):
        remedy = "Write them as `seeds: [42, 43, 44]`; three show how far runs scatter."
        raise InputError(f"a list of different seeds in {path}", _found(seeds), remedy)
    return list(seeds)


def _check_swept(keys: Iterable[str], path: Path) -> None:
    check_known(keys, recipe_keys(), str(path))
    for key in keys:
        if key in RUN_KEYS:
            remedy = "Write seeds as `seeds: […]`; the rest is set run by run."
            raise InputError(f"keys to vary in {path}", f"{key!r}, which a sweep sets itself", remedy)


def _found(value: Any) -> str:
    return "none" if value is None or value in ({}, []) else as_word(value)


SEARCH_KEYS = ("space", "trials", "metric", "sampler_seed")
RANGE_KEYS = ("low", "high", "log", "step")
# Of the scores of the validation split those of which more is better.
METRICS = tuple(name for name in TITLES if name != "rating_mae")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: whole ones where both ends and the step are.

    Attributes:
        low: the lower end.
        high: the upper end.
        log: whether each power of ten is as likely as the next.
        step: distance between the numbers that are tried; None for any.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Search:
    """A search over recipe keys.

    Attributes:
        space: key -> the values to choose from, or a `Range`.
        trials: settings that are tried.
        metric: the validation score to maximize, a mean over the sweep's seeds.
        sampler_seed: of the sampler's choices.
    """

    space: dict[str, list[Any] | Range]
    trials: int
    metric: str = SingleLabelTask.metric
    sampler_seed: int = 42

    def describe(self) -> str:
        """Describe what makes two searches the same; a search may be given more trials later."""
        space = {key: values if isinstance(values, list) else vars(values) for key, values in self.space.items()}
        return json.dumps([space, self.metric, self.sampler_seed], ensure_ascii=False)


def read_search(value: Any, path: Path) -> Search:
    """`search:` of a sweep file.

    Raises:
        InputError: a key that it does not have, no space, a range that is none, no trials, or an unknown metric.
    """
    if not isinstance(value, dict):
        remedy = "Write it as `search: {space: {max_length: [96, 128]}, trials: 20}`."
        raise InputError(f"a mapping for search in {path}", repr(value), remedy)
    check_known(value, SEARCH_KEYS, f"search in {path}")
    space = value.get("space")
    if not isinstance(space, dict) or not space:
        remedy = "Write it as `space: {learning_rate: {low: 5.0e-5, high: 5.0e-4, log: true}}`."
        raise InputError(f"keys in the search space of {path}", repr(space), remedy)
    trials, seed = value.get("trials"), value.get("sampler_seed", 42)
    if type(trials) is not int or trials < 1:
        raise InputError(f"trials of at least 1 in the search of {path}", repr(trials), "Write it as `trials: 20`.")
    if type(seed) is not int or seed < 0:
        raise InputError(f"a whole sampler_seed in the search of {path}", repr(seed), "Leave it out for 42.")
    metric = value.get("metric", SingleLabelTask.metric)
    if metric not in METRICS:
        expected = f"a metric among {', '.join(METRICS)} in the search of {path}"
        raise InputError(expected, repr(metric), "Use one of these; it is taken on validation.")
    return Search({key: _read_values(key, values, path) for key, values in space.items()}, trials, metric, seed)


def _read_values(key: str, values: Any, path: Path) -> list[Any] | Range:
    if isinstance(values, list) and len({repr(value) for value in values}) == len(values) > 0:
        return values
    if not isinstance(values, dict):
        remedy = f"Write it as `{key}: [1, 2]` or `{key}: {{low: 1, high: 2}}`."
        raise InputError(f"different values or a range for {key!r} in {path}", repr(values), remedy)
    check_known(values, RANGE_KEYS, f"the range of {key} in {path}")
    low, high, log, step = (values.get(name) for name in RANGE_KEYS)
    numbers = all(type(end) in (int, float) for end in (low, high))
    if not numbers or low >= high or (log and low <= 0):  # type: ignore[operator]
        remedy = "Write numbers with low below high (1.0e-4 and not 1e-4, which YAML takes for a word); log needs them "
        remedy += "above 0."
        raise InputError(f"a range for {key!r} in {path}", repr(values), remedy)
    if type(log) not in (bool, type(None)) or (step is not None and (type(step) not in (int, float) or step <= 0)):
        raise InputError(f"log: true or false and a step above 0 for {key!r} in {path}", repr(values), "Fix them.")
    if log and step is not None:
        raise InputError(f"log or a step for {key!r} in {path}", "both", "Leave one of them out.")
    return Range(low, high, bool(log), step)  # type: ignore[arg-type]
