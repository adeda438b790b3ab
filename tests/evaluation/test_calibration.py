import json

import numpy as np
import pandas as pd
import pytest

from sentiment_hf.cli.main import main
from sentiment_hf.evaluation.plots import reliability_plot
from sentiment_hf.inference.calibration import (
    Calibration,
    calibration_report,
    expected_calibration_error,
    fit_temperature,
    held_out_check,
    log_loss,
    reliability,
    threshold_for,
    too_few_for,
)
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.tasks import softmax
from sentiment_hf.utils.exceptions import InputError


def too_sure(rows=4000, factor=3.0, seed=0):
    """Logits whose distribution is the labels' own, made `factor` times too sure."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, 3)) * 1.5
    labels = np.array([rng.choice(3, p=row) for row in softmax(logits)])
    return logits * factor, labels


def test_error_by_hand():
    # Two bins of fifteen: one row 0.62 sure and right; three from 0.87 to 0.93 sure, of which one is wrong.
    probabilities = np.array([[0.62, 0.38], [0.87, 0.13], [0.93, 0.07], [0.07, 0.93]])
    labels = np.array([0, 1, 0, 1])
    assert expected_calibration_error(probabilities, labels) == pytest.approx((0.38 + 3 * (0.91 - 2 / 3)) / 4)
    assert [(row["low"], row["high"]) for row in reliability(probabilities, labels)] == [
        (9 / 15, 10 / 15),
        (13 / 15, 14 / 15),
    ]
    assert expected_calibration_error(np.eye(2)[labels], labels) == 0


def test_the_temperature_is_found_and_changes_no_label():
    logits, labels = too_sure()
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(3.0, rel=0.08)
    report = calibration_report(logits, labels, temperature)
    assert report["before"]["expected_calibration_error"] > 0.1
    assert report["after"]["expected_calibration_error"] < 0.02
    assert report["after"]["log_loss"] < report["before"]["log_loss"]
    assert sum(row["rows"] for row in report["after"]["bins"]) == len(labels)


def test_a_new_temperature_has_to_be_better_on_rows_it_was_not_fitted_on():
    logits, labels = too_sure()
    check = held_out_check(logits, labels)
    assert check.refusal is None
    assert check.error[1] < check.error[0] / 4
    assert all(temperature == pytest.approx(3.0, rel=0.1) for temperature in check.temperatures)
    # The right one is in use already, or there was nothing to do.
    assert held_out_check(logits, labels, old=fit_temperature(logits, labels)).refusal is not None
    calibrated, labels = too_sure(1000, factor=1.0)
    assert held_out_check(calibrated, labels).refusal is not None
    # So little too sure, sixty rows cannot tell.
    slightly, labels = too_sure(60, factor=1.1, seed=1)
    assert "60 rows are too few to tell" in held_out_check(slightly, labels).refusal


def test_a_row_is_judged_by_the_temperature_of_the_other_folds():
    logits, labels = too_sure(60)
    check = held_out_check(logits, labels, old=2.0, seed=3)
    fold = np.random.default_rng(3).permutation(60) % 5
    scaled = np.empty_like(logits)
    for place in range(5):
        temperature = fit_temperature(logits[fold != place], labels[fold != place])
        assert check.temperatures[place] == pytest.approx(temperature)
        scaled[fold == place] = logits[fold == place] / temperature
    assert check.log_loss == pytest.approx((log_loss(logits / 2, labels), log_loss(scaled, labels)))
    before, after = (expected_calibration_error(softmax(part), labels) for part in (logits / 2, scaled))
    assert check.error == pytest.approx((before, after))


def test_too_few_rows_to_calibrate_on():
    logits, labels = too_sure(49)
    with pytest.raises(InputError, match="at least 50 rows to calibrate on, found 49: each of 5 folds .* by 9"):
        held_out_check(logits, labels)
    held_out_check(*too_sure(50))


def test_a_model_without_a_mistake_keeps_its_temperature():
    right = np.tile(np.eye(3) * 9, (40, 1))
    check = held_out_check(right, right.argmax(axis=1), old=1.5)
    assert "gets all 120 rows right, and only mistakes tell how sure to be" in check.refusal
    assert check.temperatures == (1.5,) * 5


def test_too_few_rows_for_a_precision():
    # 0.95 ** 58 is just above a twentieth.
    assert too_few_for(0.95, 59) is None
    assert "58 rows above the threshold are too few to show a precision of 0.95: at least 59" in too_few_for(0.95, 58)
    assert "no number of rows shows it" in too_few_for(1, 10_000)
    assert too_few_for(0.01, 1) is None


def test_threshold():
    probabilities = np.array([[0.99, 0.01], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    labels = np.array([0, 0, 1, 1])
    assert threshold_for(probabilities, labels, 0.5) == (0.6, 1.0)
    # The two rows that are 0.9 sure stand or fall together.
    assert threshold_for(probabilities, labels, 0.66) == (0.9, 0.75)
    assert threshold_for(probabilities, labels, 0.9) == (0.99, 0.25)
    with pytest.raises(InputError, match="a threshold with a precision of 0.9, found 0.5000 at best"):
        threshold_for(probabilities[1:3], labels[1:3], 0.9)
    with pytest.raises(InputError, match="a precision above 0"):
        threshold_for(probabilities, labels, 1.2)


def test_the_picture(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="needs the plots extra")
    from matplotlib.figure import Figure

    drawn, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *words, **more: drawn.append(self) or save(self, *words, **more)
    )
    logits, labels = too_sure(500)
    report = calibration_report(logits, labels, 3.0)
    reliability_plot(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    (figure,) = drawn
    for upper, lower, name in zip(figure.axes[:2], figure.axes[2:], ("before", "after"), strict=True):
        bins = report[name]["bins"]
        assert [bar.get_height() for bar in upper.patches] == [row["accuracy"] for row in bins]
        assert [bar.get_height() for bar in lower.patches] == [row["rows"] for row in bins]


@pytest.fixture
def rows_file(tmp_path, reviews):
    rows = pd.DataFrame({"text": reviews["text"], "label": reviews["label"]})
    rows.head(200).to_csv(tmp_path / "validation.csv", index=False)
    rows.tail(200).to_csv(tmp_path / "test.csv", index=False)
    return tmp_path


def test_the_command_writes_what_the_predictor_uses(model_folder, rows_file, capsys, tmp_path):
    words = ["evaluate", "--calibrate", "--model", str(model_folder), "--data", str(rows_file / "validation.csv")]
    before = SentimentClassifier.from_pretrained(model_folder)("房间很好")
    assert main([*words, "--test", str(rows_file / "test.csv")]) == 0
    assert "calibration error" in capsys.readouterr().out
    report = json.loads((model_folder / "calibration.json").read_text(encoding="utf-8"))
    after = SentimentClassifier.from_pretrained(model_folder)
    # Divided into the weights, so that nothing is left to divide by.
    assert after.calibration == Calibration(1.0, None)
    assert report["held_out"]["folds"] == 5
    assert after("房间很好").label == before.label
    margin = np.log(before.probability / (1 - before.probability)) / report["temperature"]
    assert after("房间很好").probability == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-5)
    # Nothing else in the config changed, and a second time has nothing to do.
    assert main([*words, "--test", str(rows_file / "test.csv")]) == 0
    assert "Nothing was written" in capsys.readouterr().out
    again = SentimentClassifier.from_pretrained(model_folder)
    assert again.calibration == after.calibration
    assert again.scorer.settings == after.scorer.settings


def test_a_wanted_precision_becomes_a_threshold_that_the_predictor_keeps(model_folder, rows_file, capsys):
    words = ["evaluate", "--calibrate", "--model", str(model_folder), "--data", str(rows_file / "validation.csv")]
    classifier = SentimentClassifier.from_pretrained(model_folder)
    validation = pd.read_csv(rows_file / "validation.csv")
    predictions = classifier(validation["text"].tolist())
    plain = np.mean(
        [prediction.label == label for prediction, label in zip(predictions, validation["label"], strict=True)]
    )
    wanted = plain + (1 - plain) / 8
    assert main([*words, "--test", str(rows_file / "test.csv"), "--precision", f"{wanted:.3f}"]) == 0
    report = json.loads((model_folder / "calibration.json").read_text(encoding="utf-8"))
    config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    assert report["threshold"] > 0.5
    assert 0 < report["coverage"] < 1
    assert set(report["test"]) >= {"coverage", "precision"}
    strict = SentimentClassifier.from_pretrained(model_folder)
    assert strict.calibration.threshold == report["threshold"] == config["sentiment_hf"]["calibration"]["threshold"]
    kept = [
        (prediction, label)
        for prediction, label in zip(strict(validation["text"].tolist()), validation["label"], strict=True)
        if prediction.label
    ]
    assert len(kept) / len(validation) == pytest.approx(report["coverage"])
    assert np.mean([prediction.label == label for prediction, label in kept]) >= round(wanted, 3) - 1e-9
    assert f"threshold {report['threshold']:.4f}" in capsys.readouterr().out


def test_below_the_threshold_there_is_no_label(model_folder):
    classifier = SentimentClassifier.from_pretrained(model_folder)
    classifier.calibration = Calibration(50.0, 0.9)
    prediction = classifier("房间很好")
    assert prediction.label is None
    assert prediction.reason == "below threshold"
    assert prediction.to_dict()["label"] is None
    assert len(prediction.top) == 2


def test_bad_input(model_folder, rows_file, capsys):
    assert main(["evaluate", "--calibrate", "--model", "starter-reviews"]) == 2
    assert "the folder of a saved model" in capsys.readouterr().err
    assert main(["evaluate", "--calibrate", "--model", str(model_folder)]) == 2
    assert "validation rows saved beside" in capsys.readouterr().err
    words = ["--data", str(rows_file / "validation.csv"), "--precision", "1.5"]
    assert main(["evaluate", "--calibrate", "--model", str(model_folder), *words]) == 2
    assert not (model_folder / "calibration.json").exists()
