import numpy as np
import pandas as pd
import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")

import onnx
import onnxruntime

from sentiment_hf.compression.export import export_model
from sentiment_hf.compression.gate import Judge
from sentiment_hf.compression.quantization import Quantization, weighted_nodes
from sentiment_hf.compression.static import (
    MAX_ACTIVATION_ROWS,
    StaticQuantizer,
    activation_shards,
    quantize_until,
    sensitivity,
)
from sentiment_hf.data.tokenization import encode
from sentiment_hf.inference.onnx_session import onnx_forward, open_session
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.tasks import SingleLabelTask
from sentiment_hf.tasks.labels import LabelSpace
from sentiment_hf.utils.exceptions import InputError

ALLOWED = 100.0


@pytest.fixture
def rows(reviews) -> pd.DataFrame:
    return pd.DataFrame({"text": reviews["text"], "label": (reviews["label"] == "positive").astype(int)})


def onnx_scorer(folder, file):
    return SentimentClassifier.from_pretrained(folder, "torch").scorer.with_forward(onnx_forward(open_session(file)))


def operators(file):
    return [node.op_type for node in onnx.load(str(file)).graph.node]


@pytest.mark.parametrize("activation_ranges", ["minmax", "entropy", "percentile"])
def test_static_int8_predicts_as_fp32(model_folder, rows, activation_ranges):
    settings = Quantization("static", max_drop=ALLOWED, activation_ranges=activation_ranges)
    exported = export_model(model_folder, rows, settings, activation_rows=rows)
    found = operators(exported.int8)
    assert "QuantizeLinear" in found
    assert "DynamicQuantizeLinear" not in found
    classifiers = {name: SentimentClassifier.from_pretrained(model_folder, name) for name in ("onnx", "static")}
    assert classifiers["static"].file == exported.int8
    fp32, int8 = (classifier.scorer.logits(rows["text"]) for classifier in classifiers.values())
    assert np.abs(int8 - fp32).max() < 0.25 * np.ptp(fp32)
    assert (int8.argmax(1) == fp32.argmax(1)).mean() > 0.9
    # Without a dynamic file beside it, it is what `int8` means.
    assert SentimentClassifier.from_pretrained(model_folder, "int8").file == exported.int8


def test_the_graph_for_tensorrt_is_symmetric_and_runs_here(model_folder, rows):
    exported = export_model(model_folder, rows, Quantization("static", "tensorrt", ALLOWED), activation_rows=rows)
    assert exported.int8.name == "model_static_qint8_tensorrt.onnx"
    graph = onnx.load(str(exported.int8)).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    zeros = [values[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert zeros
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    # Every product with weights has both of its inputs quantized, which is how TensorRT finds it.
    producers = {output: node.op_type for node in graph.node for output in node.output}
    products = [
        node for node in graph.node if node.op_type == "MatMul" and producers.get(node.input[1]) == "DequantizeLinear"
    ]
    assert len(products) == sum(
        "MatMul" in name for name, weighted in weighted_nodes(exported.fp32).items() if weighted
    )
    assert all(producers[node.input[0]] == "DequantizeLinear" for node in products)
    # What a GPU would compute, as far as a processor can tell: with its operators as they stand. Fused, products of two
    # signed integers overflow on processors without VNNI.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(exported.int8), options, providers=["CPUExecutionProvider"])
    scorer = onnx_scorer(model_folder, exported.fp32)
    fp32, int8 = (one.logits(rows["text"]) for one in (scorer, scorer.with_forward(onnx_forward(session))))
    assert np.abs(int8 - fp32).max() < 0.25 * np.ptp(fp32)
    assert (int8.argmax(1) == fp32.argmax(1)).mean() > 0.9


def test_shards_have_one_shape_each_and_every_text(model_folder, rows):
    scorer = SentimentClassifier.from_pretrained(model_folder).scorer
    texts = [text * (place % 4 + 1) for place, text in enumerate(rows["text"])]
    shards = activation_shards(scorer, texts)
    assert sum(len(shard["input_ids"]) for shard in shards) == len(texts)
    assert all(len(shard["input_ids"]) <= 32 for shard in shards)
    assert len({shard["input_ids"].shape[1] for shard in shards}) > 1
    # No row has a whole bucket of padding.
    assert all((shard["attention_mask"].sum(1) > shard["input_ids"].shape[1] - 8).all() for shard in shards)


def test_ranges_are_of_all_shards_and_of_a_sample_of_all_rows(model_folder, rows, monkeypatch):
    exported = export_model(model_folder, rows)
    scorer = SentimentClassifier.from_pretrained(model_folder).scorer
    lengthened = rows.assign(text=[text * (place % 4 + 1) for place, text in enumerate(rows["text"])])
    settings = Quantization("static")
    whole = StaticQuantizer(exported.fp32, scorer, lengthened, settings).ranges.data
    last = activation_shards(scorer, lengthened["text"].tolist())[-1]
    longest = lengthened[[len(text) >= lengthened["text"].map(len).max() - 8 for text in lengthened["text"]]]
    assert len(last["input_ids"]) < len(rows)
    part = StaticQuantizer(exported.fp32, scorer, pd.concat([longest] * 8), settings).ranges.data
    wider = [whole[name].range_value[1] > part[name].range_value[1] for name in part]
    assert any(wider)
    assert all(whole[name].range_value[1] >= part[name].range_value[1] - 1e-5 for name in part)
    monkeypatch.setattr(StaticQuantizer, "_ranges", lambda self, shards: shards)
    shards = StaticQuantizer(exported.fp32, scorer, rows, settings).ranges
    read = {tuple(ids[ids != 0]) for shard in shards for ids in shard["input_ids"]}
    encoded = encode(scorer.tokenizer, rows["text"], scorer.settings)["input_ids"]
    assert len(read) == MAX_ACTIVATION_ROWS
    later = len(rows) - MAX_ACTIVATION_ROWS
    assert len(read & {tuple(ids) for ids in encoded[-later:]}) == pytest.approx(0.6 * later, rel=0.2)


def test_the_sweep_finds_a_product_that_costs(model_folder, rows, tmp_path):
    exported = export_model(model_folder, rows)
    scorer = SentimentClassifier.from_pretrained(model_folder, "onnx").scorer
    judge = Judge(scorer, rows, SingleLabelTask("t", LabelSpace(("a", "b"))), scorer.logits(rows["text"]))
    quantizer = StaticQuantizer(exported.fp32, scorer, rows, Quantization("static", sensitivity=True))
    table = sensitivity(quantizer, judge, tmp_path)
    assert table["node"][0] == "–"
    assert len(table) == 1 + sum(weighted_nodes(exported.fp32).values())
    assert table["gain"][1] == table["gain"].max() > 0
    assert list(table["gain"][1:]) == sorted(table["gain"][1:], reverse=True)
    # No file gains a hundred points: everything allowed is kept, and the file differs less from FP32.
    file, chosen = quantize_until(quantizer, judge, -101.0, tmp_path)
    assert 0 < chosen["kept_in_fp32"].sum() <= 8
    assert judge(file)[1] < table["distance"][0]
    file, chosen = quantize_until(quantizer, judge, ALLOWED, tmp_path)
    assert chosen["kept_in_fp32"].sum() == 0


def test_the_sweep_writes_its_table(model_folder, rows):
    settings = Quantization("static", max_drop=ALLOWED, sensitivity=True)
    export_model(model_folder, rows, settings, activation_rows=rows)
    table = pd.read_csv(model_folder / "onnx" / "sensitivity.csv")
    assert list(table) == ["node", "points", "distance", "gain", "kept_in_fp32"]
    # A hundred points may be lost, so that none has to stay in FP32.
    assert not table["kept_in_fp32"].any()


@pytest.mark.parametrize(
    ("settings", "count", "message"),
    [
        (("static",), 0, "training rows for the activation ranges of static INT8, found none"),
        (("static", "auto", 0.5, "percentile"), 20, "at least 100 rows for activation_ranges: percentile, found 20"),
        (("static", "auto", 0.5, "entropy"), 20, "activation_ranges: minmax"),
    ],
)
def test_too_few_activation_rows_are_refused(model_folder, rows, settings, count, message):
    with pytest.raises(InputError, match=message):
        export_model(model_folder, rows, Quantization(*settings), activation_rows=rows[:count])
    assert not (model_folder / "onnx").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("dynamic", "tensorrt"), "quantize: static for TensorRT"),
        (("sometimes",), r"none \| dynamic \| static"),
        (("static", "auto", 0.5, "mean"), r"minmax \| entropy \| percentile"),
        (("dynamic", "auto", 0.5, "minmax", True), "static for a sensitivity sweep"),
        (("dynamic", "auto", -1.0), "at least 0 points"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Quantization(*settings)
