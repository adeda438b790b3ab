import numpy as np
import pytest

from sentiment_hf.evaluation.significance import (
    bootstrap_macro_f1,
    holm,
    interval,
    mcnemar,
    mean_interval,
    two_sided_p,
)
from sentiment_hf.tasks.metrics import classification_scores


@pytest.fixture
def predictions():
    """Truth of 300 rows in three classes, and predictions that are right in 60, 62 and 90 of a hundred."""
    generator = np.random.default_rng(0)
    truth = generator.integers(3, size=300)
    rows = [np.where(generator.random(300) < share, truth, (truth + 1) % 3) for share in (0.6, 0.62, 0.9)]
    return truth, np.array(rows)


def test_the_bootstrap_is_around_the_score_of_the_metrics(predictions):
    truth, rows = predictions
    resampled = bootstrap_macro_f1(truth, rows, classes=3, resamples=2500)
    assert resampled.shape == (2500, 3)
    for place, row in enumerate(rows):
        score = classification_scores(np.eye(3)[row], truth, ["a", "b", "c"])["macro_f1"]
        assert resampled[:, place].mean() == pytest.approx(score, abs=0.005)
    low, high = interval(resampled[:, 2] - resampled[:, 0])
    assert 0.2 < low < high < 0.5
    assert two_sided_p(resampled[:, 2] - resampled[:, 0]) < 0.01
    assert two_sided_p(resampled[:, 1] - resampled[:, 0]) > 0.05
    assert two_sided_p(resampled[:, 0] - resampled[:, 0]) == 1


def test_a_draw_has_the_macro_f1_of_its_rows():
    # A class that does not occur is left out, as metrics.json leaves it out.
    alone = bootstrap_macro_f1(np.zeros(4, dtype=int), np.array([[0, 0, 0, 0], [1, 1, 1, 1]]), 3, resamples=5)
    np.testing.assert_array_equal(alone, [[1.0, 0.0]] * 5)
    # One that is said and never true has an F1 of 0: two classes of precision 1 and recall 4/5 beside it.
    truth = np.arange(300) % 2
    said = bootstrap_macro_f1(truth, np.where(np.arange(300) % 5 == 0, 2, truth)[None], 3, resamples=500)
    assert said.mean() == pytest.approx(2 / 3 * 8 / 9, abs=0.005)


def test_mcnemar_by_hand():
    a = np.array([True] * 8 + [False] * 2 + [True] * 5)
    b = np.array([False] * 8 + [True] * 2 + [True] * 5)
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (8, 2)
    assert found.p_value == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert mcnemar(a, a).p_value == 1


def test_a_p_value_by_hand():
    # One of 99 draws lies beyond 0; of both sides, and as if one draw more did.
    assert two_sided_p(np.array([-1.0] + [1.0] * 98)) == pytest.approx(2 * 2 / 100)
    assert two_sided_p(np.full(99, -1.0)) == pytest.approx(2 * 1 / 100)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_an_interval_of_a_mean_holds_it():
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = mean_interval(values, resamples=4000)
    reach = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.04 * reach)
