"""`evaluate --calibrate` divides the temperature into every file of a model: each loader, ours or stock, gives the same
probabilities, however often it is calibrated."""

import json
import os
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sentiment_hf.cli.main import main
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.inference.calibration import Calibration
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.modeling.loading import load_config, load_tokenizer
from sentiment_hf.tasks import BUILT_IN_TASKS, softmax
from sentiment_hf.training.folder import save_model

HAS_ONNX = all(find_spec(name) for name in ("optimum", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="needs the onnx extra")
TEXTS = ["房间很吵，再也不来了", "早餐非常好。", "键盘手感又脏又旧！朋友也这么说。", "故事没得挑剔"]


@pytest.fixture(scope="module")
def rows(reviews, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    reviews.to_csv(folder / "validation.csv", index=False)
    reviews.head(150).to_csv(folder / "part.csv", index=False)
    return folder


@pytest.fixture
def make_folder(tmp_path, make_model, tokenizer):
    """Save a classifier of some head and settings."""

    def make(name="stock", settings=None, model=None):
        model = model or make_model()
        record_settings(model.config, tokenizer, BUILT_IN_TASKS["reviews"], settings or TextSettings(max_length=32))
        save_model(tmp_path / name, model, tokenizer)
        return tmp_path / name

    return make


def own_model(tokenizer, seed=0, **options):
    """A tiny classifier with a head of our own."""
    from sentiment_hf.modeling.classifier import classifier_config, load_classifier

    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    }
    config = classifier_config("scratch", BUILT_IN_TASKS["reviews"], tokenizer, 2, sizes, **options)
    return load_classifier("scratch", config)


def calibrate(folder, file, *words):
    return main(["evaluate", "--calibrate", "--model", str(folder), "--data", str(file), *words])


def logits(folder, backend="torch", texts=TEXTS):
    return SentimentClassifier.from_pretrained(folder, backend).scorer.logits(texts)


def recorded(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))["sentiment_hf"]["calibration"]


def head_pruned(tokenizer, make_model):
    from sentiment_hf.modeling.configuration_bert_heads import HeadPrunedBertConfig
    from sentiment_hf.modeling.modeling_bert_heads import HeadPrunedBertForSequenceClassification

    stock = make_model().config
    values = {key: value for key, value in stock.to_dict().items() if key != "model_type"}
    config = HeadPrunedBertConfig.from_dict({**values, "num_attention_heads": 1, "attention_head_size": 16})
    config.initializer_range = 0.3
    return HeadPrunedBertForSequenceClassification(config)


WINDOWS = {"max_length": 12, "truncation": "sliding", "stride": 2}
LONG = ["，".join(TEXTS * 3), TEXTS[0]]


@pytest.mark.parametrize("kind", ["stock", "pooled", "head_pruned", "hierarchical", "mean", "max"])
def test_logits_of_every_head_are_quotients_afterwards(kind, make_folder, make_model, tokenizer, rows, capsys):
    settings = TextSettings(max_length=32)
    model = None
    if kind == "pooled":
        model = own_model(tokenizer, pooling="attention")
    elif kind == "head_pruned":
        model = head_pruned(tokenizer, make_model)
    elif kind == "hierarchical":
        # What puts chunks together is the head, whatever the settings say.
        model, settings = (
            own_model(tokenizer, hierarchical="attention"),
            TextSettings(**WINDOWS, aggregation="logsumexp"),
        )
    elif kind in ("mean", "max"):
        settings = TextSettings(**WINDOWS, aggregation=kind)
    folder = make_folder(kind, settings, model)
    before = logits(folder, texts=LONG)
    assert calibrate(folder, rows / "validation.csv") == 0
    assert "every loader gives these probabilities" in capsys.readouterr().out
    said = recorded(folder)
    assert said["temperature"] == 1
    assert said["folded"] > 1.1
    assert np.allclose(logits(folder, texts=LONG), before / said["folded"], atol=1e-4)
    assert SentimentClassifier.from_pretrained(folder).calibration == Calibration(1.0, None)


def test_logsumexp_of_windows_does_not_scale_and_stays_at_prediction(make_folder, rows, capsys):
    folder = make_folder(settings=TextSettings(**WINDOWS, aggregation="logsumexp"))
    weights, before = (folder / "model.safetensors").read_bytes(), logits(folder, texts=LONG)
    assert calibrate(folder, rows / "validation.csv") == 0
    assert "applied by sentiment_hf alone, not by stock loaders: the chunks' logits" in capsys.readouterr().out
    said = recorded(folder)
    assert said["temperature"] > 1.1
    assert said["folded"] == 1
    assert "logsumexp" in said["not_folded"]
    assert (folder / "model.safetensors").read_bytes() == weights
    predictions = SentimentClassifier.from_pretrained(folder)(LONG)
    wanted = softmax(before / said["temperature"]).max(axis=1)
    assert [prediction.probability for prediction in predictions] == pytest.approx(wanted.tolist(), abs=1e-5)


def test_a_stock_pipeline_gives_the_calibrated_probabilities(make_folder, rows):
    from transformers import pipeline

    folder = make_folder()
    raw = logits(folder)
    assert calibrate(folder, rows / "validation.csv") == 0
    predictions = pipeline("text-classification", model=str(folder), truncation=True)(TEXTS)
    wanted = softmax(raw / recorded(folder)["folded"]).max(axis=1)
    assert [prediction["score"] for prediction in predictions] == pytest.approx(wanted.tolist(), abs=1e-5)
    ours = SentimentClassifier.from_pretrained(folder)(TEXTS)
    assert [prediction.label for prediction in ours] == [prediction["label"] for prediction in predictions]


def test_calibrating_again_composes_and_an_old_config_still_loads(make_folder, rows, capsys):
    folder = make_folder()
    raw = logits(folder)
    # As saved before temperatures went into the weights.
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["sentiment_hf"]["calibration"] = {"temperature": 1.5, "threshold": 0.6}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    old = SentimentClassifier.from_pretrained(folder)
    assert old.calibration == Calibration(1.5, 0.6)
    assert max(value for _, value in old(TEXTS[0]).top) == pytest.approx(softmax(raw / 1.5)[0].max(), abs=1e-5)
    assert calibrate(folder, rows / "validation.csv") == 0
    first = recorded(folder)["folded"]
    assert np.allclose(logits(folder), raw / first, atol=1e-4)
    # Made too sure by hand, it is calibrated by what is left to do.
    weights = load_file(folder / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name] * 4
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert calibrate(folder, rows / "validation.csv") == 0
    assert recorded(folder)["folded"] == pytest.approx(4 * first, rel=1e-2)
    assert np.allclose(logits(folder), raw / first, rtol=1e-2, atol=1e-3)
    assert json.loads((folder / "calibration.json").read_text(encoding="utf-8"))["temperature"] == pytest.approx(
        recorded(folder)["folded"]
    )
    # Nothing is left: nothing is written.
    state = {path.name: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()
    assert calibrate(folder, rows / "validation.csv") == 0
    said = capsys.readouterr()
    assert "Nothing was written" in said.out
    assert "the temperature stays as it was" in said.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == state


def test_half_precision_keeps_its_body_and_gets_an_exact_head(make_folder, make_model, rows):
    folder = make_folder()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = {name: value.to(torch.bfloat16) for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    before = logits(folder)
    assert calibrate(folder, rows / "validation.csv") == 0
    after = load_file(folder / "model.safetensors")
    assert {value.dtype for name, value in after.items() if not name.startswith("classifier")} == {torch.bfloat16}
    assert np.allclose(logits(folder), before / recorded(folder)["folded"], atol=1e-4)


@needs_onnx
@pytest.mark.parametrize("kind", ["stock", "hierarchical"])
def test_all_files_of_a_folder_give_the_same_probabilities(kind, make_folder, tokenizer, rows, reviews, capsys):
    hierarchical = kind == "hierarchical"
    model = own_model(tokenizer, hierarchical="transformer") if hierarchical else None
    folder = make_folder(kind, TextSettings(**WINDOWS) if hierarchical else None, model)
    words = [
        "compress",
        "export",
        "--model",
        str(folder),
        "--validation_file",
        str(rows / "part.csv"),
        "--max_drop",
        "100",
    ]
    assert main([*words, "--quantize", "dynamic"]) == 0
    backends = ["torch", "onnx", "int8"]
    if not hierarchical:
        ranges = ["--quantize", "static", "--activation_file", str(rows / "part.csv")]
        assert main([*words, *ranges]) == 0
        backends.append("static")
    if find_spec("openvino"):
        backends.append("openvino")
    before = {backend: logits(folder, backend, LONG) for backend in backends}
    for file in ("validation.csv", "part.csv"):
        # The second time as if it had been trained on.
        assert calibrate(folder, rows / file) == 0
        folded = recorded(folder)["folded"]
        for backend in backends:
            tolerance = 2e-2 if backend == "openvino" else 1e-4
            assert np.allclose(logits(folder, backend, LONG), before[backend] / folded, atol=tolerance), backend
    # Exported anew, the file is of the divided weights.
    assert main([*words, "--quantize", "none"]) == 0
    assert np.allclose(logits(folder, "onnx", LONG), before["onnx"] / folded, atol=1e-4)


def test_a_file_that_cannot_be_divided_keeps_all_others_from_it(make_folder, rows, capsys):
    folder = make_folder()
    before = logits(folder)
    torch.save({}, folder / "pytorch_model.bin")
    assert calibrate(folder, rows / "validation.csv") == 0
    assert "pytorch_model.bin holds weights in a form" in capsys.readouterr().out
    said = recorded(folder)
    assert said["temperature"] > 1.1
    assert "pytorch_model.bin" in said["not_folded"]
    assert np.array_equal(logits(folder), before)
    os.remove(folder / "pytorch_model.bin")
    assert calibrate(folder, rows / "validation.csv", "--precision", "0.1") == 0
    assert recorded(folder)["temperature"] == 1
    assert np.allclose(logits(folder), before / said["temperature"], atol=1e-4)


def test_settings_load_as_before(make_folder, rows):
    folder = make_folder()
    assert calibrate(folder, rows / "validation.csv") == 0
    assert load_config(str(folder)).sentiment_hf["text"]["max_length"] == 32
    assert load_tokenizer(str(folder)).model_max_length == 32
