"""Single-label tasks: the built-in ones, and those defined by `labels` or by the rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sentiment_hf.tasks.base import TOP_K, Cell, Task
from sentiment_hf.tasks.labels import MARK_COLUMN, NAMES, LabelSpace, label_text
from sentiment_hf.tasks.predictions import AnyPrediction, Prediction, softmax
from sentiment_hf.utils.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from sentiment_hf.config.training_options import FineTuningOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SingleLabelTask(Task):
    """A text has one of several labels.

    Attributes:
        name: short name, saved with the model.
        space: raw values, names and ids of the labels.
        metric: the score that picks the best checkpoint.
    """

    name: str
    space: LabelSpace
    metric: str = "macro_f1"

    is_single_label = True
    kind = "one label"

    @property
    def labels(self) -> tuple[str, ...]:
        return self.space.names

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        return (Cell("", self.labels, 0, len(self.labels)),)

    def references(self, labels: Iterable[Any]) -> np.ndarray:
        return np.asarray(list(labels))[:, None]

    def label_of(self, ids: Sequence[int]) -> int:
        return int(ids[0])

    def check_training(self, labels: Sequence[Any]) -> None:
        present = sorted(set(labels))
        if len(present) < 2:
            found = f"only {self.labels[present[0]]!r} in {len(labels)} rows"
            raise InputError("at least two classes in training", found, "Add rows of the other class.")
        missing = [label for index, label in enumerate(self.labels) if index not in present]
        if missing:
            logger.warning("no training rows for %s: the model cannot learn to predict it", ", ".join(missing))

    def name_labels(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(label=self.names_of(frame["label"]), **{MARK_COLUMN: NAMES})

    def loss(self, options: FineTuningOptions | None = None, class_weight: Any = None, log_prior: Any = None) -> Any:
        from sentiment_hf.losses.classification import ClassificationLoss

        return ClassificationLoss.from_options(options, class_weight, log_prior)

    def class_weights(self, labels: Sequence[Any], setting: Any, beta: float) -> torch.Tensor | None:
        from sentiment_hf.losses.classification import class_weights

        return class_weights(setting, labels, self.labels, beta)

    def log_priors(self, labels: Sequence[Any]) -> torch.Tensor:
        from sentiment_hf.losses.classification import log_prior

        return log_prior(labels, self.labels)

    def to_dict(self) -> dict[str, Any]:
        return {"labels": self.space.to_dict()}

    @classmethod
    def from_config(cls, config: Any, names: tuple[str, ...], saved: dict[str, Any]) -> Self:
        """Read the task of a saved model; of one from elsewhere ids stand for its labels in files."""
        return cls(str(saved.get("task", "custom")), _saved_space(names, saved), str(saved.get("metric", "macro_f1")))

    def scores(self, logits: np.ndarray, labels: Sequence[Any]) -> dict[str, Any]:
        from sentiment_hf.tasks.metrics import classification_scores

        return classification_scores(logits, list(labels), self.labels)

    def predictions(
        self,
        texts: Sequence[str | None],
        logits: np.ndarray,
        top_k: int = TOP_K,
        temperature: float = 1.0,
        threshold: float | None = None,
    ) -> list[AnyPrediction]:
        self.check_width(logits)
        probabilities = softmax(logits / temperature)
        return [self._prediction(text, row, top_k, threshold) for text, row in zip(texts, probabilities, strict=True)]

    def _prediction(self, text: str | None, row: np.ndarray, top_k: int, threshold: float | None) -> Prediction:
        ranked = np.argsort(-row, kind="stable")[:top_k]
        top = tuple((self.labels[index], float(row[index])) for index in ranked)
        if threshold is not None and top[0][1] < threshold:
            return Prediction(text, None, None, top, reason="below threshold")
        return Prediction(text, top[0][0], top[0][1], top)

    def no_prediction(self, text: str | None, reason: str | None) -> Prediction:
        return Prediction(text, None, None, reason=reason)

    def prediction_columns(self) -> tuple[str, ...]:
        return ("predicted_label", "probability", "reason")


def _saved_space(names: tuple[str, ...], saved: dict[str, Any]) -> LabelSpace:
    if not saved:
        return LabelSpace.of_ids(names)
    if "labels" in saved:
        return LabelSpace(names, dict(saved["labels"]["raw"]), dict(saved["labels"].get("aliases") or {}))
    # Models of the first edition saved raw values alone, and none where labels were read off the rows.
    raw = dict(saved.get("raw_labels") or {name: name for name in names})
    built_in = BUILT_IN_TASKS.get(str(saved.get("task")))
    if built_in is not None and built_in.labels == names:
        raw = {**built_in.space.raw, **raw}
    return LabelSpace(names, raw)


# What people write in files of reviews, in any case of letters.
_REVIEW_WORDS = {
    "negative": ("0", "negative", "neg", "差评", "负面", "负向", "消极"),
    "positive": ("1", "positive", "pos", "好评", "正面", "正向", "积极"),
}
_EMOTIONS = ("neutral", "angry", "happy", "sad", "fear", "surprise")
_TOPICS = ("体育", "财经", "房产", "家居", "教育", "科技", "时尚", "时政", "游戏", "娱乐")

BUILT_IN_TASKS: dict[str, SingleLabelTask] = {
    "reviews": SingleLabelTask(
        "reviews",
        LabelSpace(tuple(_REVIEW_WORDS), {word: name for name, words in _REVIEW_WORDS.items() for word in words}),
    ),
    "emotion": SingleLabelTask("emotion", LabelSpace.from_labels(_EMOTIONS)),
    "topics": SingleLabelTask("topics", LabelSpace(_TOPICS, {name: name for name in _TOPICS})),
}


def resolve_task(
    name: str | None, labels: Mapping[Any, Any] | list[Any] | None, raw_values: Iterable[Any], where: str = "the rows"
) -> SingleLabelTask:
    """Resolve the task a recipe describes.

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
        task = SingleLabelTask(name or "custom", LabelSpace.from_labels(labels))
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
        task = SingleLabelTask("custom", LabelSpace.from_rows(raw_values))
        _warn_of_case(task.labels)
    if len(task.labels) < 2:
        raise InputError(
            "at least two different labels", f"{list(task.labels)}", "A classifier needs something to tell apart."
        )
    return task


def _check_numbers(task: SingleLabelTask, raw_values: Iterable[Any], where: str) -> None:
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
