"""What a sweep file says under `search:`: which keys are searched, how far, and by what they are judged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_hf.evaluation.scores import TITLES
from sentiment_hf.exceptions import InputError
from sentiment_hf.recipe import check_known
from sentiment_hf.tasks import SingleLabelTask

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
        raise InputError(f"log: true or false and a step above 0 for {key!r} in {path}", repr(values), "Mend them.")
    if log and step is not None:
        raise InputError(f"log or a step for {key!r} in {path}", "both", "Leave one of them out.")
    return Range(low, high, bool(log), step)  # type: ignore[arg-type]
