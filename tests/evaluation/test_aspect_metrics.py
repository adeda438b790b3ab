import logging

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sentiment_hf.evaluation.baseline import baseline_logits, fit_baseline
from sentiment_hf.evaluation.report import headline, metrics_table, system_row
from sentiment_hf.tasks import AspectTask, aspect_columns
from sentiment_hf.tasks.aspects import stars_of
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.tasks.metrics import aspect_scores

TASK = AspectTask(aspect_columns(["taste", "noise"]), "ordinal")


def logits_for(cells, stars):
    """One-hot logits for the values given, and an ordinal rating that passes each threshold or not."""
    cells = np.asarray(cells)
    logits = np.eye(4)[cells] * 4.0
    rating = np.where(np.asarray(stars)[:, None] > np.arange(1, 5), 20.0, -20.0)
    return np.concatenate([logits.reshape(len(cells), -1), rating], axis=1)


def test_scores_by_hand():
    truth = np.array([[0, 3, 5], [2, 3, 4], [2, 1, 1], [1, MISSING, MISSING]])
    given = logits_for([[0, 3], [2, 1], [0, 1], [3, 0]], [5, 5, 2, 1])
    scores = aspect_scores(given, truth, TASK)
    assert scores["accuracy"] == pytest.approx(4 / 7)
    taste = f1_score([0, 2, 2, 1], [0, 2, 0, 3], average="macro")
    noise = f1_score([3, 3, 1], [3, 1, 1], average="macro")
    assert scores["macro_f1"] == pytest.approx((taste + noise) / 2)
    # A mentioned cell that was called not mentioned is judged by the best of the other three: here the first of equals.
    assert scores["per_aspect"]["taste"]["mentioned_macro_f1"] == pytest.approx(
        f1_score([0, 2, 2, 1], [0, 2, 0, 0], average="macro")
    )
    assert scores["per_aspect"]["noise"]["mentioned_cells"] == 1
    assert scores["mentioned_accuracy"] == pytest.approx(3 / 5)
    assert scores["rating_accuracy"] == pytest.approx(1 / 3)
    assert scores["rating_mae"] == pytest.approx((0 + 1 + 1) / 3)
    assert scores["rated_rows"] == 3
    # Squared distances: 2 in all, where 5, 4, 1 against 5, 5, 2 in any order would have 48 / 3; nothing has 3 stars.
    assert scores["rating_kappa"] == pytest.approx(1 - 2 / 16)
    cells = [0, 2, 2, 1, 3, 3, 1], [0, 2, 0, 3, 3, 1, 1]
    assert scores["pooled_macro_f1"] == pytest.approx(f1_score(*cells, average="macro"))
    mentioned = [0, 2, 2, 1, 1], [0, 2, 0, 0, 1]
    assert scores["mentioned_pooled_macro_f1"] == pytest.approx(f1_score(*mentioned, average="macro"))


def test_the_error_of_a_rating_is_that_of_the_expected_stars():
    """And not of the whole stars that are predicted: 1 and 3, 2 and 4 for these."""
    ordinal = np.concatenate([np.zeros((2, 8)), [[0.0, 0.0, -20.0, -20.0], [20.0, 20.0, 1.0986, -20.0]]], axis=1)
    regression = np.concatenate([np.zeros((2, 8)), [[2.4], [3.6]]], axis=1)
    truth = np.array([[0, 0, 3], [0, 0, 3]])
    assert aspect_scores(ordinal, truth, TASK)["rating_mae"] == pytest.approx((1 + 0.75) / 2, abs=1e-3)
    found = aspect_scores(regression, truth, AspectTask(TASK.columns, "regression"))
    assert found["rating_mae"] == pytest.approx(0.6)
    assert found["rating_accuracy"] == 0


def test_the_baseline_predicts_the_stars_that_are_nearest(reviews):
    """As an ordinal head's logits or as a number, which ridge regression says."""
    labels = [(0, 3, 1 + len(text) % 5) for text in reviews["text"][:200]]
    predicted = []
    for rating in ("ordinal", "regression"):
        task = AspectTask(TASK.columns, rating)
        logits = baseline_logits(fit_baseline(reviews["text"][:200], labels, task), list(reviews["text"][200:]), task)
        predicted.append(stars_of(task.unpack(logits)[1])[0].tolist())
    assert predicted[0] == predicted[1]
    assert len(set(predicted[0])) > 2


def test_an_aspect_nobody_mentions_is_left_out_and_named(caplog):
    truth = np.array([[0, 3], [2, 3]])
    task = AspectTask(TASK.columns)
    with caplog.at_level(logging.WARNING):
        # One of the two cells that say nothing is taken for praise: as a class of its own that would be a third.
        scores = aspect_scores(logits_for([[0, 3], [2, 2]], [1, 1])[:, :8], truth, task)
    assert scores["per_aspect"]["noise"]["macro_f1"] is None
    assert scores["per_aspect"]["noise"]["mentioned_macro_f1"] is None
    assert scores["mentioned_macro_f1"] == 1.0
    assert scores["macro_f1"] == 1.0
    assert "nothing is said of noise" in caplog.text
    assert "rating_mae" not in scores


def test_stars_of_both_heads():
    stars, expected = stars_of(np.array([[0.0, 0.0, -20.0, -20.0], [20.0, 20.0, 20.0, 20.0]]))
    assert stars.tolist() == [1, 5]
    assert expected.tolist() == pytest.approx([2.0, 5.0])
    stars, expected = stars_of(np.array([[3.4], [9.0]]))
    assert stars.tolist() == [3, 5]
    assert expected.tolist() == pytest.approx([3.4, 5.0])


@pytest.mark.parametrize("rating", ["none", "ordinal", "regression"])
def test_the_baseline_of_aspects_learns(reviews, rating):
    task = AspectTask(TASK.columns, rating)
    # The third aspect's column says nothing anywhere, the second's the same everywhere.
    labels = [
        (2 if label == "positive" else 0, 3, *([5 if label == "positive" else 1] if task.has_rating else []))
        for label in reviews["label"]
    ]
    baseline = fit_baseline(reviews["text"][:300], labels[:300], task)
    scores = task.scores(baseline_logits(baseline, list(reviews["text"][300:]), task), labels[300:])
    assert scores["accuracy"] > 0.95
    assert scores.get("rating_mae", 0) < 0.5
    shown = metrics_table([{"name": "x", "split": "test", "baseline": system_row(scores, 1.0, 1.0, 300)}])
    assert len(shown.columns) == (11 if task.has_rating else 9)
    assert headline(scores)["macro_f1"] == scores["macro_f1"]
