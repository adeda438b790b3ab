"""Evaluations one after another: the same file again, another backend, other rows, other weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sentiment_hf.cli.main import main
from sentiment_hf.evaluation.report import read_metrics
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.training.folder import save_model


def evaluate(model: Path, data: Path, *more: str) -> int:
    return main(["evaluate", "--model", str(model), "--data", str(data), *more])


def metrics_in(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


@pytest.fixture
def data(tmp_path: Path, reviews: pd.DataFrame) -> Path:
    (tmp_path / "wangwu").mkdir()
    reviews[:40].to_csv(tmp_path / "wangwu/rows.csv", index=False)
    return tmp_path / "wangwu/rows.csv"


def test_the_same_file_twice(model_folder, data, capsys):
    assert evaluate(model_folder, data) == 0
    first = metrics_in(model_folder / "evaluation/rows")
    assert evaluate(model_folder, data) == 0
    second = metrics_in(model_folder / "evaluation/rows")
    for metrics in (first, second):
        del metrics["fp32"]["ms_per_review"]
    assert first == second
    assert first["data"] == "rows.csv"
    assert "wangwu" not in json.dumps(first)
    assert [path.name for path in (model_folder / "evaluation").iterdir()] == ["rows"]
    # What it wrote can be read by what reads metrics.
    assert main(["evaluate", "--runs", str(model_folder / "evaluation/rows")]) == 0
    assert "rows.csv (40)" in capsys.readouterr().out


def test_blank_rows_are_no_part_of_any_figure(model_folder, data, tmp_path):
    """They are labelled as the model takes them, wrongly as well as rightly: none of either may count."""
    rows = pd.read_csv(data)
    classifier = SentimentClassifier.from_pretrained(model_folder)
    right = [
        prediction.label == label
        for prediction, label in zip(classifier(rows["text"].tolist()), rows["label"], strict=True)
    ]
    counted = rows["label"].value_counts().to_dict()
    blank = pd.DataFrame({"text": ["", " ", "\u3000"] * 3, "label": "negative", "kind": "blank"})
    unlabelled = pd.DataFrame({"text": ["谁也没有说它好不好"] * 3, "label": None, "kind": "unlabelled"})
    rows["kind"] = rows["label"]
    pd.concat([unlabelled, blank[:5], rows[:20], blank[5:], rows[20:]]).to_csv(data, index=False)
    assert evaluate(model_folder, data, f"--output_dir={tmp_path / 'e'}") == 0
    metrics = metrics_in(tmp_path / "e")
    words = ["--data", str(data), "--output_dir"]
    assert (
        main(["evaluate", "--errors", "--model", str(model_folder), "--category=kind", *words, str(tmp_path / "w")])
        == 0
    )
    errors = json.loads((tmp_path / "w/errors.json").read_text(encoding="utf-8"))
    assert (
        main(["evaluate", "--model", str(model_folder), "--compare", str(model_folder), *words, str(tmp_path / "c")])
        == 0
    )
    compared = json.loads((tmp_path / "c/compare.json").read_text(encoding="utf-8"))
    assert (metrics["fp32"]["rows"], metrics["blank_rows_left_out"]) == (40, 9)
    assert errors["rows"] == compared["rows"] == 40
    accuracies = metrics["fp32"]["accuracy"], errors["accuracy"], compared["accuracy"]["a"], compared["accuracy"]["b"]
    assert accuracies == pytest.approx([sum(right) / 40] * 4)
    # A row's category is its own, whatever rows before it are left out.
    kinds = {part["slice"]: part["rows"] for part in errors["slices"] if part["by"] == "column kind"}
    assert kinds == counted


def test_another_backend_joins_the_first(model_folder, data):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("optimum.onnxruntime")
    assert main(["compress", "export", "--model", str(model_folder)]) == 0
    for backend in ("torch", "onnx", "torch"):
        assert evaluate(model_folder, data, "--backend", backend) == 0
    metrics = read_metrics(model_folder / "evaluation/rows")
    assert metrics["fp32"]["accuracy"] == metrics["onnx"]["accuracy"]


def test_other_rows_under_the_same_name_are_kept_apart(model_folder, data, tmp_path, reviews):
    (tmp_path / "second").mkdir()
    reviews[40:100].to_csv(tmp_path / "second/rows.csv", index=False)
    for file in (data, tmp_path / "second/rows.csv", data, tmp_path / "second/rows.csv"):
        assert evaluate(model_folder, file) == 0
    found = {path.name: metrics_in(path)["fp32"]["rows"] for path in (model_folder / "evaluation").iterdir()}
    assert found.pop("rows") == 40
    assert list(found.values()) == [60]


def test_labels_that_were_mended_are_other_rows(model_folder, data, reviews):
    assert evaluate(model_folder, data) == 0
    rows = reviews[:40].copy()
    rows.loc[0, "label"] = "positive" if rows["label"][0] == "negative" else "negative"
    rows.to_csv(data, index=False)
    assert evaluate(model_folder, data) == 0
    assert len(list((model_folder / "evaluation").iterdir())) == 2


def test_a_model_that_was_trained_anew_starts_new_figures(model_folder, data, make_model, tokenizer, caplog):
    folder = model_folder / "evaluation/rows"
    assert evaluate(model_folder, data) == 0
    metrics = metrics_in(folder)
    # As another backend would have left it.
    (folder / "metrics.json").write_text(json.dumps(metrics | {"onnx": metrics["fp32"]}), encoding="utf-8")
    config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    other = make_model(seed=7)
    other.config.sentiment_hf = config["sentiment_hf"]
    save_model(model_folder, other, tokenizer)
    assert evaluate(model_folder, data) == 0
    assert "onnx" not in metrics_in(folder)


def test_an_evaluation_never_takes_the_place_of_a_runs_metrics(tiny_arguments, tmp_path, data, capsys):
    assert main(["train", *tiny_arguments, "--max_steps=2", "--baseline=false"]) == 0
    before = (tmp_path / "run/metrics.json").read_bytes()
    assert evaluate(tmp_path / "run", data, f"--output_dir={tmp_path / 'run'}") == 2
    assert "a training run at" in capsys.readouterr().err
    assert (tmp_path / "run/metrics.json").read_bytes() == before


def test_what_an_older_version_left_is_replaced(model_folder, data):
    assert evaluate(model_folder, data) == 0
    folder = model_folder / "evaluation/rows"
    old = {"name": "model", "task": "reviews", "split": str(data), "rows_fingerprint": "0" * 16}
    for content in (json.dumps(old), "{", "[]"):
        shutil.rmtree(model_folder / "evaluation")
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(content, encoding="utf-8")
        assert evaluate(model_folder, data) == 0
        assert any("data" in metrics_in(path) for path in (model_folder / "evaluation").iterdir())


def test_a_model_from_elsewhere_is_exported_after_its_evaluation(model_folder, data):
    pytest.importorskip("optimum.onnxruntime")
    assert evaluate(model_folder, data, f"--output_dir={model_folder}") == 0
    assert main(["compress", "export", "--model", str(model_folder)]) == 0
