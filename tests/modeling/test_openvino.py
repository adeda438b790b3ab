"""OpenVINO reads the files of an export and predicts as onnxruntime does."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("openvino", reason="needs the openvino extra")
pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")

from sentiment_hf.benchmark.systems import System, systems_of
from sentiment_hf.cli.main import main
from sentiment_hf.compression.export import export_model
from sentiment_hf.compression.quantization import Quantization
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.utils.exceptions import InputError, MissingExtraError
from sentiment_hf.utils.files import read_json


@pytest.fixture
def rows(reviews) -> pd.DataFrame:
    return pd.DataFrame({"text": reviews["text"], "label": (reviews["label"] == "positive").astype(int)})


def test_both_files_predict_as_under_onnxruntime(model_folder, rows):
    export_model(model_folder, rows, Quantization("static", max_drop=100), activation_rows=rows)
    for backend, same, tolerance in (("openvino", "onnx", 0.02), ("openvino_int8", "static", 0.15)):
        ours = SentimentClassifier.from_pretrained(model_folder, backend)
        other = SentimentClassifier.from_pretrained(model_folder, same)
        assert ours.file == other.file
        assert ours.providers == ("OpenVINOCPU",)
        found, expected = (classifier.scorer.logits(rows["text"]) for classifier in (ours, other))
        assert np.abs(found - expected).max() < tolerance * max(np.ptp(expected), 1.0), backend
        assert ours("房间很好").label == other("房间很好").label


def test_callers_at_the_same_time_get_their_own_predictions(model_folder, rows):
    export_model(model_folder, rows)
    classifier = SentimentClassifier.from_pretrained(model_folder, "openvino")
    texts = rows["text"].tolist()
    alone = [classifier(text).probability for text in texts[:60]]
    with ThreadPoolExecutor(8) as pool:
        together = [prediction.probability for prediction in pool.map(classifier, texts[:60])]
    assert together == pytest.approx(alone, abs=1e-6)


def test_aspects_and_documents_run_as_well(tmp_path, tiny_arguments, rows):
    words = [*tiny_arguments, "--truncation=sliding", "--hierarchical=attention", "--max_steps=2", "--baseline=false"]
    assert main(["train", *words]) == 0
    run = tmp_path / "run"
    export_model(run, rows)
    texts = ["".join(rows["text"][:12]), "房间很好"]
    torch, openvino = (
        SentimentClassifier.from_pretrained(run, name).scorer.logits(texts) for name in ("torch", "openvino")
    )
    np.testing.assert_allclose(openvino, torch, atol=0.02)


def test_what_does_not_run_is_refused(model_folder, rows, monkeypatch):
    with pytest.raises(InputError, match="model.onnx in .*, found no ONNX files"):
        SentimentClassifier.from_pretrained(model_folder, "openvino")
    export_model(model_folder, rows, Quantization("dynamic", max_drop=100))
    with pytest.raises(InputError, match="--quantize static --activation_file FILE"):
        SentimentClassifier.from_pretrained(model_folder, "openvino_int8")
    with pytest.raises(InputError, match="provider cpu for openvino"):
        SentimentClassifier.from_pretrained(model_folder, "openvino", "cuda")
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sentiment_hf\[openvino\]'"):
        SentimentClassifier.from_pretrained(model_folder, "openvino")


def test_bench_and_evaluate_have_it_as_a_row(model_folder, rows, reviews, tmp_path):
    export_model(model_folder, rows, Quantization("static", max_drop=100), activation_rows=rows)
    systems = {system.kind: system for system in systems_of(str(model_folder), (), "cpu")}
    for kind in ("openvino", "openvino_int8"):
        assert isinstance(systems[kind], System)
        assert systems[kind].files[0].is_file()
        assert set(systems[kind].open()(["房间很好", "电池不耐用"])) <= {"negative", "positive"}
    reviews.head(40).to_csv(tmp_path / "rows.csv", index=False)
    words = ["evaluate", "--model", str(model_folder), "--data", str(tmp_path / "rows.csv"), "--backend", "openvino"]
    assert main([*words, "--output_dir", str(tmp_path / "out")]) == 0
    assert read_json(tmp_path / "out" / "metrics.json")["openvino"]["providers"] == ["OpenVINOCPU"]
