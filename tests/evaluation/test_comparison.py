import json

import numpy as np
import pandas as pd
import pytest

from sentiment_hf.cli.main import main
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.evaluation.significance import changed_rows, compare
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.tasks import BUILT_IN_TASKS, SingleLabelTask
from sentiment_hf.tasks.labels import LabelSpace
from sentiment_hf.tasks.metrics import classification_scores
from sentiment_hf.training.folder import save_model


def test_compare_by_hand():
    truth = np.array([0] * 50 + [1] * 50)
    first, second = truth.copy(), truth.copy()
    first[:20] = 1
    second[18:24] = 1
    found = compare(truth, first, second, 2)
    assert found["accuracy"] == {
        "a": 0.8,
        "b": 0.94,
        "difference": pytest.approx(0.14),
        "p_value": pytest.approx(2 * (1 + 22 + 231 + 1540 + 7315) / 2**22),
        "only_a_right": 4,
        "only_b_right": 18,
    }
    for system, predictions in (("a", first), ("b", second)):
        score = classification_scores(np.eye(2)[predictions], truth, ["n", "p"])["macro_f1"]
        assert found["macro_f1"][system] == pytest.approx(score)
    assert 0 < found["macro_f1"]["low"] < found["macro_f1"]["difference"] < found["macro_f1"]["high"]
    assert found["macro_f1"]["p_value"] < 0.01
    # A class that is predicted and never true counts as it does in metrics.json.
    never = np.where(np.arange(100) % 5 == 0, 2, truth)
    three = compare(truth, truth, never, 3)["macro_f1"]
    assert (three["a"], three["b"]) == pytest.approx((1.0, 2 / 3 * 8 / 9))
    same = compare(truth, first, first, 2)
    assert same["accuracy"]["p_value"] == same["macro_f1"]["p_value"] == 1


def test_changed_rows_say_what_became_of_them():
    rows = pd.DataFrame({"text": list("abcd"), "label": [0, 0, 1, 2]})
    first = np.array([[3, 0, 0], [3, 0, 0], [3, 0, 0], [3, 0, 0]])
    second = np.array([[2, 0, 0], [0, 2, 0], [0, 5, 0], [0, 1, 0]])
    found = changed_rows(rows, first, second, ["x", "y", "z"])
    assert found["probability_a"].tolist() == pytest.approx([1 / (1 + 2 * np.exp(-3))] * 3)
    assert found["probability_b"].tolist() == pytest.approx([1 / (1 + 2 * np.exp(-by)) for by in (5, 2, 1)])
    assert found["truth"].tolist() == ["y", "x", "z"]
    assert found["text"].tolist() == ["c", "b", "d"]
    assert found["change"].tolist() == ["mended", "broken", "both wrong"]
    assert found["prediction_a"].tolist() == ["x"] * 3


@pytest.fixture
def other_folder(tmp_path, make_model, tokenizer):
    """Another tiny model, whose labels stand in the other order."""
    model = make_model(seed=1, labels=("positive", "negative"))
    task = SingleLabelTask("reviews", LabelSpace(("positive", "negative"), {"0": "negative", "1": "positive"}))
    record_settings(model.config, tokenizer, task, TextSettings(max_length=32))
    save_model(tmp_path / "other", model, tokenizer)
    return tmp_path / "other"


def test_the_command(model_folder, other_folder, tmp_path, reviews, capsys):
    reviews.head(90).to_csv(tmp_path / "rows.csv", index=False)
    words = [
        "evaluate",
        "--model",
        str(model_folder),
        "--compare",
        str(other_folder),
        "--data",
        str(tmp_path / "rows.csv"),
    ]
    assert main([*words, "--output_dir", str(tmp_path / "out")]) == 0
    assert "McNemar" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    texts = reviews["text"].head(90).tolist()
    predictions = [
        [a.label for a in SentimentClassifier.from_pretrained(m)(texts)] for m in (model_folder, other_folder)
    ]
    truth = reviews["label"].head(90).tolist()
    for system, labels in zip("ab", predictions, strict=True):
        right = [label == true for label, true in zip(labels, truth, strict=True)]
        assert report["accuracy"][system] == pytest.approx(np.mean(right))
    changed = pd.read_csv(tmp_path / "out" / "changed.csv")
    assert len(changed) == report["changed"] == sum(a != b for a, b in zip(*predictions, strict=True)) > 0
    assert (changed["change"] == "mended").sum() == report["accuracy"]["only_b_right"] == report["mended"]
    # A model against itself has nothing to show.
    assert main([*words[:4], str(model_folder), *words[5:], "--compare_backend", "torch"]) == 0
    assert "0 of 90 predictions differ" in capsys.readouterr().out


def test_models_of_other_labels_are_refused(model_folder, tmp_path, make_model, tokenizer, train_file, capsys):
    task = BUILT_IN_TASKS["emotion"]
    model = make_model(labels=task.labels)
    record_settings(model.config, tokenizer, task, TextSettings(max_length=32))
    save_model(tmp_path / "emotion", model, tokenizer)
    assert (
        main(
            [
                "evaluate",
                "--model",
                str(model_folder),
                "--compare",
                str(tmp_path / "emotion"),
                "--data",
                str(train_file),
            ]
        )
        == 2
    )
    assert "two models of the same labels, found negative, positive and neutral" in capsys.readouterr().err
