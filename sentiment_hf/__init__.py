"""Small, fast classifiers for Chinese text, on the Hugging Face stack."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sentiment_hf.utils.version import __version__ as __version__

# Public names and where they live; imported when first used, so that `import sentiment_hf` costs nothing.
_PUBLIC = {
    "AspectPrediction": "sentiment_hf.tasks",
    "AspectTask": "sentiment_hf.tasks",
    "ClassificationCollator": "sentiment_hf.data.collation",
    "ClassificationLoss": "sentiment_hf.losses.classification",
    "Cleaning": "sentiment_hf.data.cleaning",
    "Distilled": "sentiment_hf.losses.classification",
    "DocumentCollator": "sentiment_hf.data.collation",
    "HeadTail": "sentiment_hf.data.dataset",
    "InputError": "sentiment_hf.utils.exceptions",
    "LabelSpace": "sentiment_hf.tasks.labels",
    "Prediction": "sentiment_hf.tasks",
    "RDrop": "sentiment_hf.losses.classification",
    "SentimentClassifier": "sentiment_hf.inference.predictor",
    "SentimentTrainer": "sentiment_hf.training.trainer",
    "SentimentTrainingArguments": "sentiment_hf.training.arguments",
    "SingleLabelTask": "sentiment_hf.tasks",
    "SlidingWindows": "sentiment_hf.data.dataset",
    "Task": "sentiment_hf.tasks",
    "TextSettings": "sentiment_hf.data.tokenization",
    "audit_splits": "sentiment_hf.data.audit",
    "focal_loss": "sentiment_hf.losses.classification",
    "launch_space": "sentiment_hf.serving.page.app",
    "weighted_cross_entropy": "sentiment_hf.losses.classification",
}

__all__ = [
    "AspectPrediction",
    "AspectTask",
    "ClassificationCollator",
    "ClassificationLoss",
    "Cleaning",
    "Distilled",
    "DocumentCollator",
    "HeadTail",
    "InputError",
    "LabelSpace",
    "Prediction",
    "RDrop",
    "SentimentClassifier",
    "SentimentTrainer",
    "SentimentTrainingArguments",
    "SingleLabelTask",
    "SlidingWindows",
    "Task",
    "TextSettings",
    "__version__",
    "audit_splits",
    "focal_loss",
    "launch_space",
    "weighted_cross_entropy",
]

if TYPE_CHECKING:
    from sentiment_hf.data.audit import audit_splits
    from sentiment_hf.data.cleaning import Cleaning
    from sentiment_hf.data.collation import ClassificationCollator, DocumentCollator
    from sentiment_hf.data.dataset import HeadTail, SlidingWindows
    from sentiment_hf.data.tokenization import TextSettings
    from sentiment_hf.inference.predictor import SentimentClassifier
    from sentiment_hf.losses.classification import (
        ClassificationLoss,
        Distilled,
        RDrop,
        focal_loss,
        weighted_cross_entropy,
    )
    from sentiment_hf.serving.page.app import launch_space
    from sentiment_hf.tasks import AspectPrediction, AspectTask, Prediction, SingleLabelTask, Task
    from sentiment_hf.tasks.labels import LabelSpace
    from sentiment_hf.training.arguments import SentimentTrainingArguments
    from sentiment_hf.training.trainer import SentimentTrainer
    from sentiment_hf.utils.exceptions import InputError


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
