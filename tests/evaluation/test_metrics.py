import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from sentiment_hf.evaluation.baseline import baseline_logits, fit_baseline
from sentiment_hf.evaluation.report import metrics_table, milliseconds_per_review, read_metrics, system_row
from sentiment_hf.tasks import BUILT_IN_TASKS, SingleLabelTask, softmax
from sentiment_hf.tasks.labels import LabelSpace
from sentiment_hf.tasks.metrics import METRIC_MODULE, classification_scores
from sentiment_hf.utils.exceptions import InputError

NAMES = ("a", "b", "c")


def test_scores_by_hand():
    logits = np.array([[2.0, 1, 0], [0, 2, 1], [0, 2, 1], [0, 1, 2]])
    scores = classification_scores(logits, [0, 1, 2, 2], NAMES)
    assert scores["accuracy"] == 0.75
    assert scores["confusion_matrix"] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert scores["per_class"]["b"] == pytest.approx({"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 1})
    assert scores["macro_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert scores["micro_f1"] == pytest.approx(0.75)
    assert scores["rows"] == 4


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    scores = classification_scores(logits, truth, ("negative", "positive"))
    assert scores["macro_f1"] == pytest.approx(f1_score(truth, logits.argmax(1), average="macro"))
    margin = logits[:, 1] - logits[:, 0]
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(truth, margin))
    assert scores["pr_auc"] == pytest.approx(average_precision_score(truth, margin))


def test_areas_rank_rows_by_probability_and_not_by_a_bare_logit():
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(200, 3)), rng.integers(0, 3, 200)
    shifted = logits + rng.normal(size=(200, 1)) * 10
    expected = np.mean([average_precision_score(truth == label, softmax(logits)[:, label]) for label in range(3)])
    for scores in (classification_scores(logits, truth, NAMES), classification_scores(shifted, truth, NAMES)):
        assert scores["pr_auc"] == pytest.approx(expected)


def test_a_class_that_never_occurs_is_left_out_of_the_mean():
    scores = classification_scores(np.array([[1.0, 0, 0], [0, 1.0, 0]]), [0, 1], NAMES)
    assert scores["macro_f1"] == 1
    assert scores["per_class"]["c"]["f1"] is None
    # One that is predicted and never true is a mistake, and counts.
    predicted = classification_scores(np.eye(3), [0, 1, 1], NAMES)
    assert predicted["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert predicted["weighted_f1"] == pytest.approx((1 + 2 * 2 / 3) / 3)
    assert (predicted["precision"], predicted["recall"]) == pytest.approx((2 / 3, 1.5 / 3))
    assert predicted["per_class"]["c"]["f1"] == 0
    assert classification_scores(np.array([[1.0, 0]]), [0], ("a", "b"))["roc_auc"] is None


def test_the_module_loads_by_path_offline_and_alone():
    """As someone who fetched the pushed module would load it: without this package."""
    code = (
        "import sys, evaluate\n"
        f"metric = evaluate.load({str(METRIC_MODULE)!r})\n"
        "print(metric.compute(predictions=[0, 1], references=[0, 0], label_names=['a', 'b'])['accuracy'])\n"
        "assert 'sentiment_hf' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.5"


def test_baseline_learns_and_handles_missing_classes(reviews):
    labels = (reviews["label"] == "positive").astype(int)
    task = BUILT_IN_TASKS["reviews"]
    baseline = fit_baseline(reviews["text"][:300], labels[:300], task)
    assert task.scores(baseline_logits(baseline, reviews["text"][300:], task), labels[300:])["accuracy"] > 0.95
    three = SingleLabelTask("three", LabelSpace(NAMES))
    wide = baseline_logits(fit_baseline(["好", "坏", "好 好"], [0, 2, 0], three), ["好"], three)
    assert wide.shape == (1, 3)
    assert wide.argmax() == 0
    assert wide.argmin() == 1


@pytest.mark.shared
@pytest.mark.parametrize(("protocol", "published"), [("clean", 87.2), ("published", 92.7)])
def test_baseline_gives_the_published_figure(shared, protocol, published):
    from sentiment_hf.data.preparation import prepare_splits
    from sentiment_hf.data.sources import load_splits

    paths = [str(shared / "data/chnsenticorp" / f"{split}.tsv") for split in ("train", "dev", "test")]
    task = BUILT_IN_TASKS["reviews"]
    splits = prepare_splits(load_splits(None, None, *paths), task, protocol).splits
    baseline = fit_baseline(splits["train"]["text"], splits["train"]["label"], task)
    scores = task.scores(baseline_logits(baseline, splits["test"]["text"], task), splits["test"]["label"])
    assert scores["accuracy"] * 100 == pytest.approx(published, abs=0.2)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what a reading takes."""
    seconds = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: seconds[0])

    def reader(*takes):
        left = iter(takes)

        def read(texts):
            seconds[0] += next(left)
            return texts

        return read

    return reader


def test_the_median_round_after_the_warm_up_is_reported(clock):
    predictors = {"one": clock(1000, 1, 9, 2), "two": clock(1000, 4, 4, 40)}
    assert milliseconds_per_review(predictors, ["很好"] * 4, rounds=3) == {"one": 500.0, "two": 1000.0}


def test_a_benchmark_leaves_its_warm_up_out(clock, monkeypatch):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")
    from sentiment_hf.benchmark import measure

    assert measure.throughput({"one": clock(1000, 1, 9, 2)}, ["很好"] * 4, rounds=3)[0] == {"one": 2.0}
    monkeypatch.setattr(measure, "CALLS", 4)
    calls = clock(*[1000] * measure.WARM_UP, 0.001, 0.002, 0.003, 0.01)
    assert measure.latency({"one": calls}, ["很好"])["one"] == pytest.approx((2.5, 9.79))


def test_predictors_are_timed_in_turns():
    calls = []
    predictors = {name: lambda texts, name=name: calls.append((name, len(texts))) for name in ("first", "second")}
    times = milliseconds_per_review(predictors, ["很好"] * 3, rounds=2)
    assert calls == [("first", 3), ("second", 3)] * 3
    assert times.keys() == {"first", "second"}


@pytest.mark.parametrize(("length", "read"), [(10, 400), (1_000, 100), (1_000_000, 1)])
def test_articles_are_timed_on_fewer_than_reviews(length, read):
    calls = []
    milliseconds_per_review({"one": lambda texts: calls.append(len(texts))}, ["好" * length] * 500, rounds=1)
    assert calls == [read] * 2


def test_report_shows_every_system_and_refusals(tmp_path):
    from rich.console import Console

    scores = {"accuracy": 0.9, "macro_f1": 0.8, "rows": 12}
    metrics = {"name": "run", "protocol": "clean", "split": "test", "baseline": system_row(scores, 1.5, 0.2, 1000)}
    metrics |= {"fp32": system_row(scores, 2.5, 0.4, 500), "int8": None, "int8_refused": "lost too much"}
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(metrics_table([metrics]))
    text = console.export_text()
    for word in ("TF-IDF", "1,000", "500", "0.9000", "0.8000", "refused by the gate", "clean"):
        assert word in text
    with pytest.raises(InputError, match=r"no metrics\.json"):
        read_metrics(Path(tmp_path))
