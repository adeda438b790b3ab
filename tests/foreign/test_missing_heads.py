"""Encoders and models of other tasks give no predictions: they are what training starts from."""

import shutil

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
    RobertaForMaskedLM,
)

from sentiment_hf.cli.main import main
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.loading import load_config
from sentiment_hf.utils.exceptions import InputError

SIZE = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 66}


def save(folder, model, tokenizer, **changes):
    model.config.pad_token_id = tokenizer.pad_token_id
    for name, value in changes.items():
        setattr(model.config, name, value)
    model.save_pretrained(folder)
    if "architectures" in changes:
        # save_pretrained writes the true class.
        model.config.architectures = changes["architectures"]
        model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def headless(tmp_path_factory, tokenizer):
    home = tmp_path_factory.mktemp("headless")
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, **SIZE}
    bert, roberta = BertConfig(**sizes), RobertaConfig(**sizes)
    classifier = AutoModelForSequenceClassification.from_config(BertConfig(**sizes, num_labels=5))
    models = {
        "base": (BertModel(bert), {}),
        "base_without_pooler": (BertModel(bert, add_pooling_layer=False), {}),
        "base_that_lies": (BertModel(bert), {"architectures": ["BertForSequenceClassification"]}),
        "mlm": (BertForMaskedLM(bert), {}),
        "roberta_mlm": (RobertaForMaskedLM(roberta), {}),
        "tokens": (BertForTokenClassification(bert), {}),
        "choices": (BertForMultipleChoice(BertConfig(**sizes, num_labels=1)), {}),
        "distilbert_tokens": (
            AutoModelForTokenClassification.from_config(
                DistilBertConfig(vocab_size=len(tokenizer), dim=32, hidden_dim=64, n_layers=1, n_heads=2)
            ),
            {},
        ),
        "electra_tokens": (AutoModelForTokenClassification.from_config(ElectraConfig(**sizes)), {}),
        "other_shape": (classifier, {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}),
    }
    for name, (model, changes) in models.items():
        save(home / name, model, tokenizer, **changes)
    return home


KINDS = [
    "base",
    "base_without_pooler",
    "base_that_lies",
    "mlm",
    "roberta_mlm",
    "tokens",
    "choices",
    "distilbert_tokens",
    "electra_tokens",
    "other_shape",
]


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_them_predicts(headless, kind):
    with pytest.raises(InputError, match="sentiment-hf train --model .* starts from"):
        SentimentClassifier.from_pretrained(headless / kind)


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--model", "MODEL", "房间很好"],
        ["evaluate", "--model", "MODEL", "--data", "DATA"],
        ["evaluate", "--errors", "--model", "MODEL", "--data", "DATA", "--output_dir", "OUT"],
        ["evaluate", "--calibrate", "--model", "MODEL", "--data", "DATA"],
        ["evaluate", "--model", "starter-reviews", "--compare", "MODEL", "--data", "DATA"],
        ["compress", "bench", "--model", "MODEL", "--data", "DATA"],
        ["explain", "--model", "MODEL", "房间很好"],
        ["explain", "--faithfulness", "--model", "MODEL", "--data", "DATA"],
        ["data", "judge", "--model", "MODEL", "--data", "DATA", "--output_dir", "OUT", "--llm", "nobody"],
        ["compress", "export", "--model", "MODEL", "--validation_file", "DATA", "--quantize", "dynamic"],
        ["serve", "--model", "MODEL", "--port", "0"],
        ["demo", "--model", "MODEL", "--port", "0"],
        ["train", "--model", "starter", "--distill_from", "MODEL", "--train_file", "DATA", "--output_dir", "OUT"],
    ],
    ids=lambda words: words[0],
)
def test_no_verb_takes_them_for_classifiers(headless, reviews, tmp_path, capsys, words):
    if "--compare" in words or words[:2] == ["compress", "export"]:
        pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which is what it would ask for first")
    data = tmp_path / "data.csv"
    # Labels that the config's own names would read: it is the head that is missing.
    reviews.replace({"label": {"negative": "LABEL_0", "positive": "LABEL_1"}}).to_csv(data, index=False)
    folder = tmp_path / "mlm"
    shutil.copytree(headless / "mlm", folder)
    places = {"MODEL": str(folder), "DATA": str(data), "OUT": str(tmp_path / "out")}
    assert main([places.get(word, word) for word in words]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert "without a trained head" in error[0]
    assert not (tmp_path / "out").exists()
    assert {path.name for path in folder.iterdir()} == {path.name for path in (headless / "mlm").iterdir()}


def test_the_starter_is_named_as_what_training_starts_from():
    with pytest.raises(InputError, match="sentiment-hf train --model starter` starts from"):
        SentimentClassifier.from_pretrained("starter")


def test_a_config_that_lies_the_other_way_is_no_reason(headless, make_model, tokenizer, tmp_path):
    save(tmp_path / "whole", make_model(), tokenizer, architectures=["BertForMaskedLM"])
    assert SentimentClassifier.from_pretrained(tmp_path / "whole")("房间很好").label in (
        "LABEL_0",
        "negative",
        "positive",
    )


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize("task", ["feature-extraction", "token-classification", "five labels"])
def test_graphs_without_a_head_are_refused_too(headless, tmp_path, backend, task):
    exporters = pytest.importorskip("optimum.exporters.onnx", reason="needs the onnx extra")
    if backend == "openvino":
        pytest.importorskip("openvino", reason="needs the openvino extra")
    folder = tmp_path / "graph"
    source = {"feature-extraction": "base", "token-classification": "tokens", "five labels": "other_shape"}[task]
    whole = shutil.copytree(headless / source, tmp_path / "whole")
    if task == "five labels":
        config = load_config(str(whole))
        config.num_labels = 5
        config.save_pretrained(whole)
    exporters.main_export(
        str(whole), folder / "onnx", task=task if "-" in task else "text-classification", do_validation=False
    )
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(headless / source / name, folder / name)
    with pytest.raises(InputError, match="without a trained head|for each of the 2 labels"):
        SentimentClassifier.from_pretrained(folder, backend)
