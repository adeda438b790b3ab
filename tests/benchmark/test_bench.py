import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")

import onnxruntime
from transformers import BertConfig

from sentiment_hf.benchmark import measure
from sentiment_hf.benchmark.measure import (
    Limit,
    latency,
    measured_limit,
    operations_of,
    padding_share,
    peak_megabytes,
    texts_of_length,
    throughput,
)
from sentiment_hf.benchmark.systems import System, systems_of
from sentiment_hf.cli.main import main
from sentiment_hf.compression.export import export_model
from sentiment_hf.compression.pruning import prune_structure
from sentiment_hf.compression.quantization import Quantization
from sentiment_hf.data.tokenization import encode
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import record_calibration
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json, write_json


@pytest.fixture
def rows(reviews) -> pd.DataFrame:
    return pd.DataFrame({"text": reviews["text"], "label": (reviews["label"] == "positive").astype(int)})


@pytest.fixture
def exported(model_folder, rows):
    export_model(model_folder, rows, Quantization(max_drop=100))
    return model_folder


def test_one_run_has_every_way_to_run_it(exported, rows, reviews, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "CALLS", 3)
    prune_structure(exported, rows, tmp_path / "half", ffn=0.5)
    export_model(tmp_path / "half", rows, Quantization(max_drop=100))
    reviews[:60].to_csv(tmp_path / "data.csv", index=False)
    # A process of its own for each system takes seconds; one of them is measured for real below.
    monkeypatch.setattr("sentiment_hf.benchmark.bench.peak_megabytes", lambda system, texts: 100.0)
    command = ["compress", "bench", "--model", str(exported), "--data", str(tmp_path / "data.csv")]
    command += ["--smaller", str(tmp_path / "half"), "--output_dir", str(tmp_path / "out"), "--max_texts", "40"]
    predictions = SentimentClassifier.from_pretrained(exported, "torch").scorer.logits(rows["text"][:60]).argmax(axis=1)
    accuracy = (predictions == rows["label"][:60]).mean()
    opened = []
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options=None, *rest, **more: opened.append(options) or real(path, options, *rest, **more),
    )
    # A threshold of the model's own would leave texts without a label, which a pipeline never does.
    config = read_json(exported / "config.json")
    record_calibration(config, 1.0, 0.999)
    write_json(exported / "config.json", config)
    assert main([*command, "--rounds", "1", "--threads", "1", "--json"]) == 0
    # One thread is one thread for all, whoever opens the file.
    assert {options.intra_op_num_threads for options in opened} == {1}
    result = json.loads(capsys.readouterr().out)
    # OpenVINO's rows, where it is installed, have tests of their own.
    rows = [row for row in result["rows"] if "OpenVINO" not in row["name"]]
    assert [row["name"] for row in rows] == [
        "transformers pipeline, FP32, batch 1",
        "transformers pipeline, FP32, batch 32",
        "Optimum pipeline, FP32 ONNX, batch 32",
        "torch, FP32",
        "ONNX, FP32",
        "ONNX, INT8",
        "half, ONNX, INT8",
    ]
    # The same weights give the same predictions, whoever runs them; to all texts, also those that are not timed.
    assert result["texts"] == 40
    assert [row["accuracy"] for row in rows[:5]] == pytest.approx([accuracy] * 5)
    for row in result["rows"]:
        assert row["reviews_per_s"] > 0
        assert 0 < row["share_of_limit"] < 1
        assert row["p50_ms"]["16"] <= row["p99_ms"]["16"]
        # No text is that long, and none is made up.
        assert "128" not in row["p50_ms"]
    sizes = [row["size_mb"] for row in rows]
    assert sizes[6] < sizes[5] < sizes[4]
    assert json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8")) == result
    assert (tmp_path / "out" / "accuracy_latency.png").stat().st_size > 1000


def test_the_peak_is_of_a_process_of_its_own(exported):
    held = bytearray(2 * 10**9)
    assert 100 < peak_megabytes(System("int8", str(exported), "int8"), ["房间很吵"]) < 2000
    assert len(held) == 2 * 10**9


def test_a_provider_that_does_not_run_gets_no_figure(exported, tmp_path, reviews, capsys, monkeypatch):
    monkeypatch.setattr(measure, "CALLS", 2)
    monkeypatch.setattr("sentiment_hf.benchmark.bench.peak_megabytes", lambda system, texts: 100.0)
    reviews[:10].to_csv(tmp_path / "data.csv", index=False)
    command = [
        "compress",
        "bench",
        "--model",
        str(exported),
        "--data",
        str(tmp_path / "data.csv"),
        "--provider",
        "cuda",
    ]
    assert main([*command, "--rounds", "1", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["ONNX, INT8"]["reviews_per_s"] is None
    assert "on cuda, found CPUExecutionProvider" in rows["ONNX, INT8"]["reason"]
    assert rows["torch, FP32"]["reviews_per_s"] is None
    assert rows["transformers pipeline, FP32, batch 32"]["reviews_per_s"] > 0


def test_texts_are_cut_to_the_token(model_folder, reviews):
    scorer = SentimentClassifier.from_pretrained(model_folder).scorer
    texts = texts_of_length(scorer, ["".join(reviews["text"][:9]), "短"], 16)
    assert len(texts) == 1
    assert len(encode(scorer.tokenizer, texts, scorer.settings)["input_ids"][0]) == 16


def test_every_system_reads_every_text_in_turns(monkeypatch):
    calls = []
    predictors = {name: lambda texts, name=name: calls.append((name, len(texts))) or [name] for name in ("a", "b")}
    speed, predictions = throughput(predictors, ["x"] * 7, rounds=2)
    assert predictions == {"a": ["a"], "b": ["b"]}
    assert calls == [("a", 7), ("b", 7)] * 3
    assert set(speed) == {"a", "b"}
    calls.clear()
    monkeypatch.setattr(measure, "CALLS", 4)
    assert set(latency(predictors, ["x", "y"])) == {"a", "b"}
    assert calls == [("a", 1), ("b", 1)] * (measure.WARM_UP + 4)


def test_operations_are_those_of_the_products():
    config = BertConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    # Per layer and token: four projections of 8 x 8 and two of 8 x 16; and per pair of tokens two products of width 8.
    per_token = 2 * 2 * (4 * 64 + 2 * 128)
    assert operations_of(config, [10]) == per_token * 10 + 2 * 4 * 8 * 100
    assert operations_of(config, [10, 30]) == np.mean([operations_of(config, [10]), operations_of(config, [30])])
    assert Limit({"fp32": 100.0, "bf16": 250.0}).milliseconds(5e8) == pytest.approx(2.0)
    assert measured_limit(64, 128, rows=64, rounds=3).gflops["fp32"] > 0


def test_the_share_of_padding_is_counted(model_folder):
    scorer = SentimentClassifier.from_pretrained(model_folder).scorer
    texts = ["房间很吵", "房间"]
    lengths = [len(ids) for ids in encode(scorer.tokenizer, texts, scorer.settings)["input_ids"]]
    assert padding_share(scorer, texts) == pytest.approx(1 - sum(lengths) / 16)


def test_what_cannot_be_compared_is_refused(exported, tmp_path, reviews, capsys):
    with pytest.raises(InputError, match="an INT8 file in"):
        systems_of(str(exported), [str(tmp_path)], "cpu")
    reviews[:4].to_csv(tmp_path / "data.csv", index=False)
    assert main(["compress", "bench", "--model", str(tmp_path / "none"), "--data", str(tmp_path / "data.csv")]) == 2
