import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from sentiment_hf.cli.main import main
from sentiment_hf.compression import pruning
from sentiment_hf.compression.pruning import importance_batches, prune_structure
from sentiment_hf.compression.structure import (
    first_order_importance,
    kept_count,
    prune_heads,
    prune_layers,
    prune_neurons,
    prune_width,
)
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.modeling_bert_heads import HeadPrunedBertForSequenceClassification
from sentiment_hf.utils.exceptions import InputError


@pytest.fixture
def rows(reviews) -> pd.DataFrame:
    frame = reviews.head(60)
    return frame.assign(label=(frame["label"] == "positive").astype(int))


@pytest.fixture
def batch():
    ids = torch.randint(5, 60, (6, 9), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor([0, 1] * 3)}


def features(batch):
    return {name: value for name, value in batch.items() if name != "labels"}


def silence(model, layer, neuron):
    with torch.no_grad():
        model.bert.encoder.layer[layer].output.dense.weight[:, neuron] = 0


def test_importance_is_the_first_order_change_of_the_loss(make_model, batch):
    model = make_model(dropout=0.0).eval()
    one = {name: value[:1] for name, value in batch.items()}
    importance = first_order_importance(model, [one])
    # By finite differences: the loss when a neuron speaks a little less, in the layer's own unit.
    changes = []
    for neuron in range(8):
        weight = model.bert.encoder.layer[1].output.dense.weight
        kept, losses = weight[:, neuron].clone(), []
        for factor in (1.001, 0.999):
            with torch.no_grad():
                weight[:, neuron] = kept * factor
            with torch.no_grad():
                losses.append(F.cross_entropy(model(**features(one)).logits.double(), one["labels"]).item())
        with torch.no_grad():
            weight[:, neuron] = kept
        changes.append(abs(losses[0] - losses[1]) / 0.002)
    found = importance.neurons[1, :8]
    np.testing.assert_allclose(found / found.sum(), np.array(changes) / sum(changes), atol=0.03)
    assert importance.heads.shape == (2, 2)


def test_neurons_that_say_nothing_go_first_and_nothing_changes(make_model, batch, tmp_path):
    model = make_model(dropout=0.0).eval()
    quiet = [3, 17, 40]
    for layer in range(2):
        for neuron in quiet:
            silence(model, layer, neuron)
    before = model(**features(batch)).logits
    importance = first_order_importance(model, [batch])
    assert all(sorted(np.argsort(scores)[:3]) == quiet for scores in importance.neurons)
    prune_neurons(model, importance.neurons, 61 / 64)
    torch.testing.assert_close(model(**features(batch)).logits, before)
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(again) is BertForSequenceClassification
    assert again.config.intermediate_size == 61
    torch.testing.assert_close(again(**features(batch)).logits, before)


def test_heads_that_say_nothing_go_first_and_nothing_changes(make_model, batch, tmp_path):
    model = make_model(dropout=0.0).eval()
    with torch.no_grad():
        model.bert.encoder.layer[0].attention.output.dense.weight[:, :16] = 0
        model.bert.encoder.layer[1].attention.output.dense.weight[:, 16:] = 0
    before = model(**features(batch)).logits
    importance = first_order_importance(model, [batch])
    pruned = prune_heads(model, importance.heads, 0.5)
    assert isinstance(pruned, HeadPrunedBertForSequenceClassification)
    torch.testing.assert_close(pruned(**features(batch)).logits, before)
    for implementation in ("eager", "sdpa"):
        pruned.save_pretrained(tmp_path)
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation=implementation).eval()
        assert isinstance(again, HeadPrunedBertForSequenceClassification)
        torch.testing.assert_close(again(**features(batch)).logits, before, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "modeling_bert_heads.py").is_file()
    assert prune_heads(make_model(), np.ones((2, 2)), 1.0).config.model_type == "bert"


def test_width_takes_what_says_nothing_and_leaves_a_stock_bert(make_model, batch, tmp_path):
    model = make_model(dropout=0.0).eval()
    quiet = list(range(16, 32))
    layers = model.bert.encoder.layer
    norms = [model.bert.embeddings.LayerNorm]
    norms += [norm for layer in layers for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm)]
    with torch.no_grad():
        for norm in norms:
            norm.weight[quiet] = norm.bias[quiet] = 0
        # The head that is left has to be told by its output as well.
        for layer in layers:
            layer.attention.output.dense.weight[:, :16] = 0
        model.classifier.weight[:, 8:24] = 0
    importance = first_order_importance(model, [batch])
    assert sorted(np.argsort(importance.hidden)[:16]) == quiet
    assert sorted(np.argsort(importance.pooled)[:16]) == list(range(8, 24))
    narrow = prune_width(model, importance, 0.5)
    assert (narrow.config.hidden_size, narrow.config.num_attention_heads) == (16, 1)
    torch.testing.assert_close(
        narrow.bert.encoder.layer[0].intermediate.dense.weight, layers[0].intermediate.dense.weight[:, :16]
    )
    torch.testing.assert_close(
        narrow.bert.encoder.layer[1].attention.self.value.weight, layers[1].attention.self.value.weight[16:, :16]
    )
    narrow.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(again) is BertForSequenceClassification
    torch.testing.assert_close(again(**features(batch)).logits, narrow(**features(batch)).logits)
    assert model.config.hidden_size == 32
    with pytest.raises(InputError, match="at least one of 2 heads"):
        prune_width(model, importance, 0.1)
    with pytest.raises(InputError, match="one with pruned heads"):
        prune_width(prune_heads(make_model(), np.ones((2, 2)), 0.5), importance, 0.5)


def test_layers(make_model, batch):
    model = make_model(dropout=0.0).eval()
    last = model.bert.encoder.layer[1]
    prune_layers(model, [1])
    assert model.bert.encoder.layer[0] is last
    assert model(**features(batch)).logits.shape == (6, 2)
    for kept in ([], [2], [1, 0], [0, 0]):
        with pytest.raises(InputError, match="rising layers"):
            prune_layers(make_model(), kept)


def test_shares():
    assert kept_count(12, 0.5, "heads") == 6
    with pytest.raises(InputError, match="at least one of 12 heads"):
        kept_count(12, 0.01, "heads")
    for share in (0, -1, 1.5):
        with pytest.raises(InputError, match="a share of heads"):
            kept_count(12, share, "heads")


def test_batches_hold_every_row_once(tokenizer, rows):
    from sentiment_hf.data.tokenization import TextSettings, encode

    batches = importance_batches(tokenizer, TextSettings(max_length=32), rows)
    found = [
        (tuple(ids[mask == 1].tolist()), label)
        for batch in batches
        for ids, mask, label in zip(batch["input_ids"], batch["attention_mask"], batch["labels"].tolist(), strict=True)
    ]
    encoded = encode(tokenizer, rows["text"], TextSettings(max_length=32))["input_ids"]
    assert sorted(found) == sorted(zip(map(tuple, encoded), rows["label"], strict=True))


@pytest.mark.parametrize(("share", "message"), [(0.0, "above 0 and at most 1, found 0.0"), (0.1, "one of 2 heads")])
def test_no_heads_are_refused_before_anything_is_weighed(model_folder, rows, tmp_path, monkeypatch, share, message):
    monkeypatch.setattr(pruning, "first_order_importance", None)
    with pytest.raises(InputError, match=message):
        prune_structure(model_folder, rows, tmp_path / "none", heads=share)
    assert not (tmp_path / "none").exists()


def test_the_command_and_the_way_back(model_folder, rows, tmp_path, capsys, tiny_arguments):
    blank = pd.DataFrame({"text": ["", " ", "\u3000"], "label": "negative"})
    pd.concat([rows, blank]).to_csv(tmp_path / "rows.csv", index=False)
    small = tmp_path / "small"
    words = ["compress", "prune", "--model", str(model_folder), "--importance_file", str(tmp_path / "rows.csv")]
    assert main([*words, "--ffn", "0.25", "--heads", "0.5", "--output_dir", str(small)]) == 0
    assert "neurons: 64 -> 16" in capsys.readouterr().out
    report = json.loads((small / "pruning.json").read_text(encoding="utf-8"))
    assert (report["after"]["heads"], report["importance_rows"]) == (1, len(rows))
    assert SentimentClassifier.from_pretrained(small)("房间很好").label
    # Fine-tuned again, with the unpruned model as teacher.
    again = [word for word in tiny_arguments if not word.startswith(("--model", "--config_over", "--num_hidden"))]
    again += [f"--model={small}", f"--distill_from={model_folder}", "--baseline=false", "--max_steps=3"]
    assert main(["train", *again]) == 0
    folder = next(word.partition("=")[2] for word in again if word.startswith("--output_dir"))
    assert SentimentClassifier.from_pretrained(folder)("房间很好").label
    capsys.readouterr()
    assert main([*words, "--output_dir", str(tmp_path / "other")]) == 2
    assert "found neither" in capsys.readouterr().err
    assert main([*words[:4], "--ffn", "0.5", "--output_dir", str(tmp_path / "other")]) == 2
    assert "--importance_file" in capsys.readouterr().err
    with pytest.raises(InputError, match="one of heads and width, found both"):
        prune_structure(model_folder, rows, tmp_path / "other", heads=0.5, width=0.5)
    with pytest.raises(InputError, match="something to prune"):
        prune_structure(model_folder, rows, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("shares", [{"ffn": 0.5, "heads": 1.5}, {"ffn": 0.5, "width": 2}, {"heads": 1.5}])
def test_shares_above_all_are_refused(model_folder, rows, tmp_path, shares):
    with pytest.raises(InputError, match="a share of heads to keep, above 0 and at most 1"):
        prune_structure(model_folder, rows, tmp_path / "none", **shares)


OUTSIDE = """
import sys
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
assert "sentiment_hf" not in sys.modules
print(type(model).__name__, model.num_parameters())
"""


def test_a_model_without_some_heads_loads_elsewhere_by_its_own_code(model_folder, rows, tmp_path):
    prune_structure(model_folder, rows, tmp_path / "small", heads=0.5)
    command = [sys.executable, "-c", OUTSIDE, str(tmp_path / "small")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    own = AutoModelForSequenceClassification.from_pretrained(tmp_path / "small")
    assert done.stdout.split() == [type(own).__name__, str(own.num_parameters())]


def test_a_model_without_some_heads_exports(model_folder, rows, tmp_path):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")
    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization

    prune_structure(model_folder, rows, tmp_path / "narrow", width=0.5)
    assert SentimentClassifier.from_pretrained(tmp_path / "narrow")("房间很好").label
    prune_structure(model_folder, rows, tmp_path / "small", heads=0.5)
    export_model(tmp_path / "small", rows, Quantization("dynamic", max_drop=100))
    fp32, onnx, int8 = (
        SentimentClassifier.from_pretrained(tmp_path / "small", backend).scorer.logits(rows["text"][:60])
        for backend in ("torch", "onnx", "int8")
    )
    np.testing.assert_allclose(onnx, fp32, atol=1e-4)
    assert np.abs(int8 - fp32).max() < 0.25 * np.ptp(fp32)
