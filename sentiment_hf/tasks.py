"""What a task is: its labels, and the metric that steers training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sentiment_hf.exceptions import InputError
from sentiment_hf.labels import LabelSpace, label_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A single-label classification task.

    Attributes:
        name: short name, saved with the model.
        space: raw values, names and ids of the labels.
        metric: the score that picks the best checkpoint.
    """

    name: str
    space: LabelSpace
    metric: str = "macro_f1"

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of their ids."""
        return self.space.names

    @property
    def id2label(self) -> dict[int, str]:
        return dict(enumerate(self.labels))

    @property
    def label2id(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels)}


# What people write in files of reviews, in any case of letters.
_REVIEW_WORDS = {
    "negative": ("0", "negative", "neg", "差评", "负面", "负向", "消极"),
    "positive": ("1", "positive", "pos", "好评", "正面", "正向", "积极"),
}
_EMOTIONS = ("neutral", "angry", "happy", "sad", "fear", "surprise")
_TOPICS = ("体育", "财经", "房产", "家居", "教育", "科技", "时尚", "时政", "游戏", "娱乐")

BUILT_IN_TASKS: dict[str, Task] = {
    "reviews": Task(
        "reviews",
        LabelSpace(tuple(_REVIEW_WORDS), {word: name for name, words in _REVIEW_WORDS.items() for word in words}),
    ),
    "emotion": Task("emotion", LabelSpace.from_labels(_EMOTIONS)),
    "topics": Task("topics", LabelSpace(_TOPICS, {name: name for name in _TOPICS})),
}


def resolve_task(
    name: str | None, labels: Mapping[Any, Any] | list[Any] | None, raw_values: Iterable[Any], where: str = "the rows"
) -> Task:
    """The task a recipe describes.

    Args:
        name: a built-in task, a name of the user's own (then `labels` says what the labels are), or None.
        labels: raw value -> label name or None, or label names in the order of their ids; overrides the built-in ones.
        raw_values: labels of the training split; their sorted distinct values serve where nothing else is said.
        where: what they come from, for messages.

    Raises:
        InputError: the name is not built in and no labels are given, fewer than two labels are named, or numbers that
            a built-in task cannot mean.
    """
    if labels is not None:
        task = Task(name or "custom", LabelSpace.from_labels(labels))
    elif name in BUILT_IN_TASKS:
        task = BUILT_IN_TASKS[name]
        _check_numbers(task, raw_values, where)
    elif name is not None:
        raise InputError(
            f"a built-in task ({', '.join(BUILT_IN_TASKS)}) or `labels:` in the recipe",
            f"task {name!r} without labels",
            "Name a built-in task, or add `labels: {raw value: label name}`.",
        )
    else:
        task = Task("custom", LabelSpace.from_rows(raw_values))
        _warn_of_case(task.labels)
    if len(task.labels) < 2:
        raise InputError(
            "at least two different labels", f"{list(task.labels)}", "A classifier needs something to tell apart."
        )
    return task


def _check_numbers(task: Task, raw_values: Iterable[Any], where: str) -> None:
    """Warn of what numbers mean in a built-in task, and refuse those of a set with fewer classes.

    Sets of emotions are numbered in many ways: 0 may be neutral here and joy there.
    """
    found = {text for text in map(label_text, raw_values) if text is not None}
    numbered = {str(index): label for index, label in task.id2label.items() if str(index) in task.space.raw}
    if not found or not found <= set(numbered):
        return
    meant = ", ".join(f"{number}: {label}" for number, label in numbered.items())
    if len(found) < len(numbered) and len(numbered) > 2:
        expected = f"all {len(numbered)} numbers of the task {task.name} ({meant}) in {where}"
        shown = f"{len(found)} of them: {', '.join(sorted(found))}"
        remedy = f"Other sets number other labels: say what yours are, --labels '{{{meant}}}'"
        raise InputError(expected, shown, remedy)
    logger.warning(
        "%s: numbers are read as the task %s has them, %s. If yours mean something else: --labels '{%s}'",
        where,
        task.name,
        meant,
        meant,
    )


def _warn_of_case(labels: Iterable[str]) -> None:
    by_case: dict[str, list[str]] = {}
    for label in labels:
        by_case.setdefault(label.casefold(), []).append(label)
    for same in by_case.values():
        if len(same) > 1:
            joined = ", ".join(f"{label}: {same[0]}" for label in same)
            logger.warning(
                "labels that differ only in case are different classes: %s. If they are one: --labels '{%s, …}'",
                ", ".join(same),
                joined,
            )
