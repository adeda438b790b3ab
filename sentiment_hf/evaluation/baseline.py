"""The floor: character n-gram TF-IDF with linear SVMs, which any model worth its file size has to beat."""

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

from sentiment_hf.aspects import MISSING, STARS, VALUES, AspectTask
from sentiment_hf.data.labelled import AnyTask


@dataclass(frozen=True)
class Floor:
    """A fitted floor.

    Attributes:
        vectorizer: texts -> features.
        classifiers: one for the label, or one for each aspect.
        rating: of the stars, or None.
    """

    vectorizer: TfidfVectorizer
    classifiers: tuple[Any, ...]
    rating: Ridge | None = None


def fit_floor(texts: Sequence[str], labels: Sequence[Any], task: AnyTask) -> Floor:
    """Fit the floor on raw texts: 1- to 3-grams of characters, sublinear, seen at least twice; `LinearSVC(C=0.5)`.

    For aspects there is one such classifier each, of the four values, and ridge regression for the stars.
    """
    # On a handful of rows nothing may occur twice, and then rare n-grams are all there is.
    min_df = 2 if len(texts) >= 100 else 1
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=min_df)
    features = vectorizer.fit_transform(list(texts))
    if not isinstance(task, AspectTask):
        return Floor(vectorizer, (_fit(features, np.asarray(labels)),))
    cells = np.array(list(labels))
    classifiers = tuple(_fit(features, cells[:, place]) for place in range(len(task.aspects)))
    rating = None
    if task.has_rating:
        rated = cells[:, -1] != MISSING
        rating = Ridge().fit(features[rated], cells[rated, -1]) if rated.any() else None
    return Floor(vectorizer, classifiers, rating)


def _fit(features: Any, labels: np.ndarray) -> Any:
    known = labels != MISSING
    # One value only is nothing to fit a line between.
    classifier = LinearSVC(C=0.5, random_state=0) if len(set(labels[known])) > 1 else DummyClassifier()
    return classifier.fit(features[known], labels[known]) if known.any() else None


def floor_logits(floor: Floor, texts: Sequence[str], task: AnyTask) -> np.ndarray:
    """Answers of the floor, `[texts, width]` as a model of the task would give them, from its decision values."""
    features = floor.vectorizer.transform(list(texts))
    if not isinstance(task, AspectTask):
        return _decision(floor.classifiers[0], features, len(task.labels))
    answers = [_decision(classifier, features, len(VALUES)) for classifier in floor.classifiers]
    if task.has_rating:
        middle = np.full(len(answers[0]), np.mean(STARS))
        stars = middle if floor.rating is None else floor.rating.predict(features)
        # As an ordinal head's logits: so far apart that each threshold is passed or not.
        steps = np.array(STARS[:-1]) + 0.5
        answers.append(stars[:, None] if task.rating == "regression" else (stars[:, None] - steps) * 10)
    return np.concatenate(answers, axis=1)


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


def floor_size_mb(floor: Floor) -> float:
    """Size in MB that the fitted floor would take on disk (as scikit-learn models are stored, pickled)."""
    return len(pickle.dumps((floor.vectorizer, floor.classifiers, floor.rating))) / 1e6
