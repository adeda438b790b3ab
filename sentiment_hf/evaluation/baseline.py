"""The TF-IDF baseline: character n-grams with linear SVMs."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC

from sentiment_hf.tasks import Cell, Task
from sentiment_hf.tasks.labels import MISSING


@dataclass(frozen=True)
class TfidfBaseline:
    """A fitted baseline.

    Attributes:
        vectorizer: texts -> features.
        models: one for each cell of the task; None for a cell that no row says anything of.
    """

    vectorizer: TfidfVectorizer
    models: tuple[Any, ...]


def fit_baseline(texts: Sequence[str], labels: Sequence[Any], task: Task) -> TfidfBaseline:
    """Fit the baseline on raw texts: 1- to 3-grams of characters, sublinear, seen at least twice; `LinearSVC(C=0.5)`.

    Of several labels there is one such classifier for each, and of a scale, as stars are, ridge regression.
    """
    # On a handful of rows nothing may occur twice, and then rare n-grams are all there is.
    min_df = 2 if len(texts) >= 100 else 1
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=min_df)
    features = vectorizer.fit_transform(list(texts))
    ids = task.references(labels)
    fits = (_fit_scale if cell.is_scale else _fit for cell in task.cells)
    return TfidfBaseline(vectorizer, tuple(fit(features, ids[:, place]) for place, fit in enumerate(fits)))


def _fit_scale(features: Any, steps: np.ndarray) -> Ridge | None:
    known = steps != MISSING
    return Ridge().fit(features[known], steps[known]) if known.any() else None


def _fit(features: Any, labels: np.ndarray) -> Any:
    known = labels != MISSING
    # One value only is nothing to fit a line between.
    classifier = LinearSVC(C=0.5, random_state=0) if len(set(labels[known])) > 1 else DummyClassifier()
    return classifier.fit(features[known], labels[known]) if known.any() else None


def baseline_logits(baseline: TfidfBaseline, texts: Sequence[str], task: Task) -> np.ndarray:
    """Logits of the baseline, `[texts, width]` as a model of the task would give them, from its decision values."""
    features = baseline.vectorizer.transform(list(texts))
    logits = [
        _scale(model, features, cell) if cell.is_scale else _decision(model, features, len(cell.values))
        for cell, model in zip(task.cells, baseline.models, strict=True)
    ]
    return np.concatenate(logits, axis=1)


def _scale(model: Ridge | None, features: Any, cell: Cell) -> np.ndarray:
    """Logits `[texts, width]` of a cell on a scale; the middle of it where nothing was learned."""
    ids = np.arange(len(cell.values)) + cell.first_id
    steps = np.full(features.shape[0], ids.mean()) if model is None else model.predict(features)
    # As an ordinal head's logits: so far apart that each threshold is passed or not.
    return steps[:, None] if cell.width == 1 else (steps[:, None] - (ids[:-1] + 0.5)) * 10


def _decision(classifier: Any, features: Any, num_classes: int) -> np.ndarray:
    """Decision values `[texts, classes]`; classes without training rows get the lowest."""
    if classifier is None or isinstance(classifier, DummyClassifier):
        decision = np.ones((features.shape[0], 0 if classifier is None else 1))
    else:
        decision = classifier.decision_function(features)
        if decision.ndim == 1:
            decision = np.stack([-decision, decision], axis=1)
    logits = np.full((features.shape[0], num_classes), decision.min(initial=0.0) - 1.0)
    if classifier is not None:
        logits[:, classifier.classes_] = decision
    return logits


def baseline_size_mb(baseline: TfidfBaseline) -> float:
    """Size in MB that the fitted baseline would take on disk (as scikit-learn models are stored, pickled)."""
    return len(pickle.dumps((baseline.vectorizer, baseline.models))) / 1e6
