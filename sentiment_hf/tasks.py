"""What a task is: its label names, how raw labels map to them, and the metric that steers training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sentiment_hf.exceptions import InputError


@dataclass(frozen=True)
class Task:
    """A single-label classification task.

    Attributes:
        name: short name, saved with the model.
        labels: label names in the order of their ids.
        raw_labels: raw value in a data file (as text) -> label name; label names map to themselves.
        metric: the score that picks the best checkpoint.
    """

    name: str
    labels: tuple[str, ...]
    raw_labels: Mapping[str, str] = field(default_factory=dict)
    metric: str = "macro_f1"

    @property
    def id2label(self) -> dict[int, str]:
        return dict(enumerate(self.labels))

    @property
    def label2id(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels)}

    def label_id(self, raw: Any) -> int | None:
        """The id of a raw label, or None where the task does not know it."""
        key = raw_label_key(raw)
        return self.label2id.get(self.raw_labels.get(key, key))

    def describe_labels(self) -> str:
        """The known labels for an error message: `0 (negative), 1 (positive)`."""
        if not self.raw_labels:
            return ", ".join(self.labels)
        return ", ".join(f"{raw} ({name})" for raw, name in self.raw_labels.items())


def _numbered(name: str, labels: tuple[str, ...]) -> Task:
    return Task(name, labels, {str(index): label for index, label in enumerate(labels)})


BUILT_IN_TASKS: dict[str, Task] = {
    "reviews": _numbered("reviews", ("negative", "positive")),
    "emotion": _numbered("emotion", ("neutral", "angry", "happy", "sad", "fear", "surprise")),
    "topics": Task("topics", ("体育", "财经", "房产", "家居", "教育", "科技", "时尚", "时政", "游戏", "娱乐")),
}


def raw_label_key(raw: Any) -> str:
    """A raw label as text; a csv's `1`, a JSON 1 and a float column's 1.0 are the same label."""
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    return str(raw).strip()


def resolve_task(name: str | None, labels: Mapping[Any, str] | list[str] | None, raw_values: Iterable[Any]) -> Task:
    """The task a recipe describes.

    Args:
        name: a built-in task, a name of the user's own (then `labels` says what the labels are), or None.
        labels: raw value -> label name, or label names in the order of their ids; overrides the built-in labels.
        raw_values: labels of the training split; their sorted distinct values serve where nothing else is said.

    Raises:
        InputError: the name is not built in and no labels are given, or fewer than two labels are named.
    """
    if labels is not None:
        if isinstance(labels, Mapping):
            raw_labels = {raw_label_key(raw): str(label) for raw, label in labels.items()}
        else:
            raw_labels = {str(label): str(label) for label in labels}
        task = Task(name or "custom", tuple(dict.fromkeys(raw_labels.values())), raw_labels)
    elif name in BUILT_IN_TASKS:
        task = BUILT_IN_TASKS[name]
    elif name is not None:
        raise InputError(
            f"a built-in task ({', '.join(BUILT_IN_TASKS)}) or `labels:` in the recipe",
            f"task {name!r} without labels",
            "Name a built-in task, or add `labels: {raw value: label name}`.",
        )
    else:
        task = Task("custom", tuple(sorted({raw_label_key(value) for value in raw_values})))
    if len(task.labels) < 2:
        raise InputError(
            "at least two different labels", f"{list(task.labels)}", "A classifier needs something to tell apart."
        )
    return task
