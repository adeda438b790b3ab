"""What a text can be labelled with: `Task` says what that takes, and each kind of label has a file of its own."""

from __future__ import annotations

from typing import Any

from sentiment_hf.tasks.aspects import ASPECTS_MODEL, AspectTask, aspect_columns
from sentiment_hf.tasks.base import TOP_K, Cell, LabelColumn, Task
from sentiment_hf.tasks.predictions import (
    AnyPrediction,
    AspectPrediction,
    ChunkAnswer,
    Prediction,
    ScorePrediction,
    softmax,
)
from sentiment_hf.tasks.scores import ScoreTask
from sentiment_hf.tasks.single_label import BUILT_IN_TASKS, SingleLabelTask, resolve_task

__all__ = [
    "BUILT_IN_TASKS",
    "TOP_K",
    "AnyPrediction",
    "AspectPrediction",
    "AspectTask",
    "Cell",
    "ChunkAnswer",
    "LabelColumn",
    "Prediction",
    "ScorePrediction",
    "ScoreTask",
    "SingleLabelTask",
    "Task",
    "aspect_columns",
    "resolve_task",
    "saved_task",
    "softmax",
]


def saved_task(config: Any, saved: dict[str, Any]) -> Task:
    """Read the task off a saved model's config: label names, and what stands for them in files as it was saved.

    Args:
        config: of the model.
        saved: what this package recorded there; empty for a model from elsewhere.

    Raises:
        ValueError: no labels, or two of the same name.
    """
    if config.model_type == ASPECTS_MODEL:
        return AspectTask.from_config(config, saved)
    names = tuple(str(config.id2label[index]) for index in range(config.num_labels))
    if len(set(names)) < max(len(names), 1):
        raise ValueError(f"the labels {', '.join(names) or 'none'}")
    if ScoreTask.is_meant(config.problem_type, len(names)):
        return ScoreTask(names, config.problem_type)
    return SingleLabelTask.from_config(config, names, saved)
