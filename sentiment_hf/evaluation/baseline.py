"""The floor: character n-gram TF-IDF with a linear SVM, which any model worth its file size has to beat."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from sentiment_hf.evaluation.metrics import classification_scores


def fit_floor(texts: Sequence[str], labels: Sequence[int]) -> Pipeline:
    """Fit the floor on raw texts: 1- to 3-grams of characters, sublinear, seen at least twice; `LinearSVC(C=0.5)`."""
    # On a handful of rows nothing may occur twice, and then rare n-grams are all there is.
    min_df = 2 if len(texts) >= 100 else 1
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=min_df)
    return make_pipeline(vectorizer, LinearSVC(C=0.5, random_state=0)).fit(list(texts), list(labels))


def floor_logits(floor: Pipeline, texts: Sequence[str], num_classes: int) -> np.ndarray:
    """Decision values of the floor as `[texts, classes]`; classes without training rows get the lowest."""
    decision = floor.decision_function(list(texts))
    if decision.ndim == 1:
        decision = np.stack([-decision, decision], axis=1)
    logits = np.full((len(texts), num_classes), decision.min() - 1.0)
    logits[:, floor.classes_] = decision
    return logits


def floor_size_mb(floor: Pipeline) -> float:
    """Size in MB that the fitted floor would take on disk (as scikit-learn models are stored, pickled)."""
    return len(pickle.dumps(floor)) / 1e6


def floor_scores(
    floor: Pipeline, texts: Sequence[str], labels: Sequence[int], label_names: Sequence[str]
) -> dict[str, Any]:
    """Scores of the floor, in the format of every model's."""
    return classification_scores(floor_logits(floor, texts, len(label_names)), labels, label_names)
