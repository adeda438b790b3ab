"""Neurons that fire far beyond all others: found, split off without changing a logit, and what INT8 gains by it."""

import shutil

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")

import onnx
import torch
from transformers import AutoModelForSequenceClassification

from sentiment_hf.compression import export
from sentiment_hf.compression.export import export_model
from sentiment_hf.compression.onnx import onnx_scorer_like
from sentiment_hf.compression.outliers import _reach, outliers_of, split_outliers
from sentiment_hf.compression.quantization import Quantization, feed_forwards, weighted_nodes
from sentiment_hf.compression.static import activation_shards
from sentiment_hf.inference.predictor import SentimentClassifier

NEURONS = (3, 40)


@pytest.fixture
def rows(reviews) -> pd.DataFrame:
    return pd.DataFrame({"text": reviews["text"], "label": (reviews["label"] == "positive").astype(int)})


@pytest.fixture
def massive(model_folder):
    """A classifier one neuron of each layer of which has thirty times the activation of the others."""
    model = AutoModelForSequenceClassification.from_pretrained(model_folder)
    with torch.no_grad():
        for layer, neuron in zip(model.bert.encoder.layer, NEURONS, strict=False):
            layer.intermediate.dense.bias.zero_()
            layer.intermediate.dense.weight[neuron] *= 300
            layer.output.dense.weight[:, neuron] /= 300
    model.save_pretrained(model_folder)
    return model_folder


def exported_scorer(folder, rows):
    fp32 = export_model(folder, rows).fp32
    return fp32, onnx_scorer_like(SentimentClassifier.from_pretrained(folder, "torch").scorer, fp32)


def test_which_stand_out():
    reach = np.linspace(1, 5, 400)
    assert len(outliers_of(reach)) == 0
    reach[[7, 90]] = 40, 60
    assert outliers_of(reach).tolist() == [90, 7]
    # Where many do, none of them is the odd one: no more than a few are taken.
    assert len(outliers_of(np.concatenate([np.ones(4000), np.full(39, 9.0)]))) == 16


def test_splitting_changes_no_logits(massive, rows, tmp_path):
    fp32, scorer = exported_scorer(massive, rows)
    graph = onnx.load(str(fp32)).graph
    found = feed_forwards(graph)
    assert [part.first.name.count("intermediate") for part in found] == [1] * len(found)
    assert len(found) == AutoModelForSequenceClassification.from_pretrained(massive).config.num_hidden_layers
    texts = rows["text"].tolist()
    split = split_outliers(fp32, activation_shards(scorer, texts), tmp_path / "split.onnx")
    onnx.checker.check_model(str(split))
    np.testing.assert_allclose(onnx_scorer_like(scorer, split).logits(texts), scorer.logits(texts), atol=1e-4)
    branches = [name for name in weighted_nodes(split) if name.endswith("/outliers")]
    assert len(branches) == 2 * len(found)
    assert not any(weighted_nodes(split)[name] for name in branches)
    # What is left of each weight has nothing of the outlier in it.
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(str(split)).graph.initializer}
    for part, neuron in zip(found, NEURONS, strict=False):
        assert not tensors[part.first.input[1]][:, neuron].any()
        assert not tensors[part.second.input[1]][neuron].any()


def test_a_graph_without_outliers_stays_as_it_is(model_folder, rows, tmp_path):
    fp32, scorer = exported_scorer(model_folder, rows)
    split = split_outliers(fp32, activation_shards(scorer, rows["text"].tolist()), tmp_path / "split.onnx")
    assert list(weighted_nodes(split)) == list(weighted_nodes(fp32))
    # Padding, however much of it, is no token that a neuron answers.
    (batch,) = activation_shards(scorer, rows["text"][:1])
    wide = {name: np.pad(values, ((0, 0), (0, 12))) for name, values in batch.items()}
    graph = onnx.load(str(fp32))
    names = [part.neurons for part in feed_forwards(graph.graph)]
    reaches = [_reach(graph, names, [each]) for each in (batch, wide)]
    for name in names:
        np.testing.assert_allclose(reaches[1][name], reaches[0][name], atol=1e-5)


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_int8_comes_nearer_to_fp32(massive, rows, method, monkeypatch):
    settings = Quantization(method, max_drop=100)
    classifier = SentimentClassifier.from_pretrained(massive, "torch")
    texts = rows["text"].tolist()

    def distance():
        int8 = export_model(massive, rows, settings, activation_rows=rows).int8
        return np.abs(onnx_scorer_like(classifier.scorer, int8).logits(texts) - classifier.scorer.logits(texts)).mean()

    split = distance()
    files = sorted(path.name for path in (massive / "onnx").iterdir())
    assert len(files) == 2, "only FP32 and INT8 stay"
    monkeypatch.setattr(export, "split_outliers", lambda fp32, batches, output: shutil.copy(fp32, output))
    assert split < 0.6 * distance()


def test_products_inside_attention_stay_in_fp32(model_folder, rows):
    int8 = export_model(model_folder, rows, Quantization("dynamic", max_drop=100)).int8
    names = [node.name for node in onnx.load(str(int8)).graph.node if node.op_type == "MatMul"]
    layers = AutoModelForSequenceClassification.from_pretrained(model_folder).config.num_hidden_layers
    assert len([name for name in names if "/attention/self/MatMul" in name]) == 2 * layers
