"""INT8 on few validation rows: as good is passed, worse is refused, and it is said what could be told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")

import onnx
from onnx import numpy_helper

from sentiment_hf.cli.main import main
from sentiment_hf.compression.export import export_model, training_texts
from sentiment_hf.compression.gate import (
    MAX_TEXTS,
    Agreement,
    GateResult,
    Judge,
    _worse,
    agreement_of,
    costs_of,
    labels_of,
)
from sentiment_hf.compression.quantization import Quantization
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.tasks import AspectTask, SingleLabelTask
from sentiment_hf.tasks.labels import LabelSpace

THREE = SingleLabelTask("t", LabelSpace(("a", "b", "c")))


@pytest.fixture
def rows(model_folder, reviews) -> pd.DataFrame:
    """Reviews that the model is sure of, labelled as it does, but every tenth."""
    logits = SentimentClassifier.from_pretrained(model_folder).scorer.logits(reviews["text"])
    labels, margin = logits.argmax(axis=1), np.ptp(logits, axis=1)
    labels[::10] = 1 - labels[::10]
    found = pd.DataFrame({"text": reviews["text"], "label": labels})
    return found[margin > np.quantile(margin, 0.25)].reset_index(drop=True)


def broken(how: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Path]:
    """A quantizer whose file predicts wrongly: the weights of the classifier are changed."""

    def quantize(fp32_file: Path, output: Path, arch: str) -> Path:
        model = onnx.load(str(fp32_file))
        for tensor in model.graph.initializer:
            if "classifier" in tensor.name:
                tensor.CopyFrom(numpy_helper.from_array(how(numpy_helper.to_array(tensor)), tensor.name))
        onnx.save(model, str(output / "broken.onnx"))
        return output / "broken.onnx"

    return quantize


def test_forty_rows_and_training_texts_are_enough_for_int8_that_is_as_good(model_folder, rows):
    exported = export_model(model_folder, rows[:40], Quantization(), activation_rows=rows[40:][["text"]])
    assert exported.int8 is not None
    assert exported.gate is not None
    record = exported.gate.record()
    assert record["decided_by"] == "agreement"
    assert (record["rows"], record["texts"]) == (40, len(rows))
    assert record["resolution"] >= 2.5
    assert record["loss_at_most"] <= 2.5
    assert "40 rows are too few to tell, one is worth" in str(exported.gate)


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        (np.zeros_like, Quantization()),
        (np.negative, Quantization()),
        (np.zeros_like, Quantization("static")),
        (np.negative, Quantization("static", sensitivity=True)),
    ],
)
def test_worse_int8_is_refused_also_where_a_few_rows_do_not_show_it(model_folder, rows, monkeypatch, how, settings):
    monkeypatch.setattr("sentiment_hf.compression.export.quantize_dynamic", broken(how))
    monkeypatch.setattr(
        "sentiment_hf.compression.static.StaticQuantizer.quantize",
        lambda self, output, excluded=(): broken(how)(self.fp32_file, output, ""),
    )
    # Labels that the model has all wrong, or all alike: the validation split shows no loss.
    validation = rows[rows["label"] == 0][:3] if how is np.zeros_like else rows[::10][:3]
    exported = export_model(model_folder, validation, settings, activation_rows=rows[["text"]])
    assert exported.int8 is None
    assert exported.refusal is not None
    assert "labels agree on" in exported.refusal


def test_without_texts_the_metric_alone_decides_and_says_so(model_folder, rows):
    exported = export_model(model_folder, rows[:40], Quantization(max_drop=5.0))
    assert exported.gate is not None
    assert exported.gate.record()["decided_by"] == "metric"
    assert "no training texts to ask" in str(exported.gate)


def test_many_rows_decide_by_the_metric_alone(model_folder, rows):
    many = pd.concat([rows] * 3, ignore_index=True)
    exported = export_model(model_folder, many, Quantization(max_drop=2.0), activation_rows=rows)
    assert exported.gate is not None
    assert exported.gate.agreement is None
    assert "too few" not in str(exported.gate)


def costs(*counts: tuple[int, int], cost: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """What changed, and FP32's labels: of each class its texts, and of how many of them INT8 changes the label."""
    moved = np.concatenate([np.arange(texts) < changed for texts, changed in counts])
    before = np.concatenate([np.full(texts, label) for label, (texts, _) in enumerate(counts)])
    return np.where(moved, cost, np.nan)[:, None], before[:, None]


@pytest.mark.parametrize(
    ("counts", "cost", "passed", "why"),
    [
        (((160, 1), (100, 0), (60, 0)), 1.0, True, None),
        # Half a point is 1.6 of 320 texts: two labels that FP32 was sure of, but many that it hardly knew.
        (((160, 1), (100, 1), (60, 0)), 1.0, False, None),
        (((160, 4), (100, 4), (60, 0)), 0.1, True, None),
        (((160, 20), (100, 12), (60, 0)), 0.1, False, None),
        # So few texts can show no more than that none changes.
        (((30, 0), (30, 0), (30, 0)), 1.0, True, None),
        (((30, 1), (30, 0), (30, 0)), 0.2, False, None),
        # A class of six in two thousand is lost: nothing in the sum.
        (((1000, 1), (1000, 1), (6, 6)), 1.0, False, "the texts that are c"),
        (((1000, 1), (1000, 1), (6, 1)), 1.0, True, None),
    ],
)
def test_labels_may_change_at_the_cost_that_the_drop_allows(counts, cost, passed, why):
    found = agreement_of(np.zeros((0, 1)), *costs(*counts, cost=cost), THREE, 0.5)
    assert (found.passed, found.outlier) == (passed, why)


def test_texts_that_were_not_learned_from_count_by_themselves():
    validation, labels_of_validation = costs((20, 6), (10, 0), (10, 0))
    texts, labels_of_texts = costs((900, 0), (900, 0), (900, 0))
    found = agreement_of(validation, texts, np.concatenate([labels_of_validation, labels_of_texts]), THREE, 0.5)
    assert found.loss < 0.5
    assert found.outlier == "the validation texts"


def test_a_label_costs_what_fp32_gave_it_more_than_the_new_one():
    before = np.log([[0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05]])
    after = np.log([[0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(costs_of(before, after, THREE)[:, 0], [0.1, np.nan, 0.85])


def test_of_aspects_each_cell_counts_as_its_part_of_a_text():
    task = AspectTask({"taste": ("taste",), "noise": ("noise",)}, "ordinal")
    before = np.zeros((2, 12))
    before[:, [0, 4]] = 2.0
    after = before.copy()
    # One cell of the first text becomes neutral, and the stars of the second change.
    after[0, 5], after[1, 8:] = 3.0, 1.0
    before[1, 8:] = -1.0
    found = costs_of(before, after, task)
    assert np.isnan(found).tolist() == [[True, False, True], [True, True, False]]
    assert found[1, 2] == 1.0
    assert agreement_of(found, found[:0], labels_of(before, task), task, 0.5).changed == pytest.approx(2 / 3)


def test_what_validation_shows_beyond_chance_refuses_whatever_else_agrees():
    seen = GateResult("macro_f1", 90.0, 89.0, 0.5, 40, 2.5, agreement=Agreement(320, 0, 0.0, 0.5))
    assert seen.passed
    assert not replace(seen, worse=True).passed
    truth = pd.Series([0, 1] * 10)
    right = truth.to_numpy()[:, None]
    wrong = right.copy()
    wrong[:6] = 1 - wrong[:6]
    assert _worse(right, wrong, truth)
    assert not _worse(wrong, right, truth)
    # As many became right.
    assert not _worse(np.concatenate([right, wrong]), np.concatenate([wrong, right]), pd.concat([truth, truth]))


def test_the_texts_that_are_asked_are_of_all_training_rows():
    rows = pd.DataFrame({"text": [f"{place}" for place in range(3 * MAX_TEXTS)]})
    rows.loc[5, "text"] = None
    texts = training_texts(rows)
    assert len(set(texts) & set(rows["text"])) == MAX_TEXTS
    thirds = np.bincount([int(text) // MAX_TEXTS for text in texts], minlength=3)
    assert thirds.min() > MAX_TEXTS / 4
    assert texts == training_texts(rows)
    assert sorted(training_texts(rows[:9])) == list("01234678")
    assert training_texts(None) == []


def test_bounds_are_those_of_the_binomial():
    from scipy.stats import binom

    for texts, changed in ((320, 3), (119, 0), (2000, 30)):
        share = Agreement(texts, changed, changed, 0.5).at_most / 100
        assert binom.cdf(changed, texts, share) == pytest.approx(0.05, abs=1e-9)


def test_one_row_of_a_rare_class_is_worth_more_than_one_of_many():
    validation = pd.DataFrame({"text": "x", "label": [0] * 50 + [1] * 48 + [2] * 2})
    logits = np.eye(3)[validation["label"]] * 4
    judge = Judge(None, validation, THREE, logits)  # type: ignore[arg-type]
    assert judge.resolution() > 10
    # Without the rare class: two rows of a hundred, or a third of the metric that the task is judged by.
    lost = np.where(validation[["label"]] == 2, np.eye(3)[[0] * 100], np.eye(3)[validation["label"]])
    assert judge.points(lost) == pytest.approx(100 * (2 * 50 / 102 + 1) / 3)
    assert replace(judge, task=replace(THREE, metric="accuracy")).points(lost) == 98
    assert Judge(None, validation[:98], THREE, logits[:98]).resolution() == pytest.approx(100 / 98, rel=0.05)  # type: ignore[arg-type]


def test_run_and_export_write_down_what_the_gate_saw(tiny_arguments, tmp_path, monkeypatch, capsys):
    learns = ["--num_train_epochs=4", "--per_device_train_batch_size=8", "--learning_rate=5e-3", "--baseline=false"]
    assert main(["train", *tiny_arguments, *learns, "--quantize=dynamic"]) == 0
    gate = metrics_of(tmp_path)["int8_gate"]
    assert gate["decided_by"] == "agreement"
    # Training and validation, and never test.
    assert gate["texts"] == metrics_of(tmp_path)["rows"]["train"] + metrics_of(tmp_path)["rows"]["validation"]
    monkeypatch.setattr("sentiment_hf.compression.export.quantize_dynamic", broken(np.zeros_like))
    # The texts are the training rows that the run saved, or a file without labels.
    export = ["compress", "export", "--model", str(tmp_path / "run")]
    assert main([*export, "--quantize=dynamic", "--max_drop=0.25"]) == 1
    assert not metrics_of(tmp_path)["int8_gate"]["passed"]
    assert metrics_of(tmp_path)["int8_gate"]["max_drop"] == 0.25
    assert metrics_of(tmp_path)["int8_gate"]["texts"] == gate["texts"]
    pd.DataFrame({"text": [f"另一条没有标签的评论{place}" for place in range(50)]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    validation = pd.read_json(tmp_path / "run/splits/validation.jsonl", lines=True)[["text", "label"]]
    blank = pd.DataFrame({"text": ["", " ", "\u3000"], "label": "negative"})
    pd.concat([validation, blank]).to_csv(tmp_path / "v.csv", index=False)
    rows_for_it = f"--activation_file={tmp_path / 't.csv'}"
    assert main([*export, "--quantize=dynamic", rows_for_it, f"--validation_file={tmp_path / 'v.csv'}"]) == 1
    # Blank rows of a file say nothing of INT8.
    assert metrics_of(tmp_path)["int8_gate"]["rows"] == metrics_of(tmp_path)["rows"]["validation"]
    assert metrics_of(tmp_path)["int8_gate"]["texts"] == 50 + metrics_of(tmp_path)["rows"]["validation"]
    assert "labels agree on" in capsys.readouterr().out
    assert main([*export, "--quantize=static", "--activation_ranges=percentile", rows_for_it]) == 2
    assert "at least 100 rows for activation_ranges: percentile, found 50" in capsys.readouterr().err
    assert main([*export, "--quantize=dynamic", "--sensitivity"]) == 2
    assert "static for a sensitivity sweep" in capsys.readouterr().err


def metrics_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run/metrics.json").read_text(encoding="utf-8")))
