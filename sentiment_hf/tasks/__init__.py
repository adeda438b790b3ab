"""The kinds of label: `Task` is the interface, and each kind has a file of its own."""

from __future__ import annotations

from typing import Any

# Names as themselves: handed on. `__all__` would hide the files of this room from the reference.
from sentiment_hf.tasks.aspects import (
    ASPECTS_MODEL,
    AspectTask as AspectTask,
    aspect_columns as aspect_columns,
)
from sentiment_hf.tasks.base import (
    TOP_K as TOP_K,
    Cell as Cell,
    LabelColumn as LabelColumn,
    Task as Task,
)
from sentiment_hf.tasks.predictions import (
    AnyPrediction as AnyPrediction,
    AspectPrediction as AspectPrediction,
    ChunkScore as ChunkScore,
    Prediction as Prediction,
    ScorePrediction as ScorePrediction,
    softmax as softmax,
)
from sentiment_hf.tasks.scores import ScoreTask as ScoreTask
from sentiment_hf.tasks.single_label import (
    BUILT_IN_TASKS as BUILT_IN_TASKS,
    SingleLabelTask as SingleLabelTask,
    resolve_task as resolve_task,
)


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
