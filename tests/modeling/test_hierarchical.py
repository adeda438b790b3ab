import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForSequenceClassification

from sentiment_hf.cli.main import main
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.classifier import classifier_config, load_classifier
from sentiment_hf.modeling.modeling_hierarchical import HierarchicalBertForSequenceClassification
from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.folder import save_model
from sentiment_hf.training.mixins import chunk_forward
from sentiment_hf.training.run import train
from sentiment_hf.utils.exceptions import InputError

KINDS = ["bilstm", "transformer", "attention"]
TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture
def make(tokenizer):
    def make(kind):
        torch.manual_seed(0)
        overrides = TINY | {"initializer_range": 0.2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        config = classifier_config(
            "scratch", BUILT_IN_TASKS["reviews"], tokenizer, config_overrides=overrides, hierarchical=kind
        )
        return load_classifier("scratch", config)

    return make


def batch():
    """Three documents of four, one and two chunks, one after the other."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 60, (7, 10), generator=generator)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "chunk_document": torch.tensor([0, 0, 0, 0, 1, 2, 2]),
        "chunk_idx": torch.tensor([0, 1, 2, 3, 0, 0, 5]),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_is_read_alike_alone_in_company_and_shuffled(make, kind):
    model, whole = make(kind).eval(), batch()
    logits = model(**whole).logits
    assert logits.shape == (3, 2)
    for document in range(3):
        own = whole["chunk_document"] == document
        alone = {name: value[own] for name, value in whole.items()}
        alone["chunk_document"] = torch.zeros_like(alone["chunk_document"])
        torch.testing.assert_close(model(**alone).logits[0], logits[document])
    order = torch.tensor([6, 2, 4, 0, 5, 3, 1])
    torch.testing.assert_close(model(**{name: value[order] for name, value in whole.items()}).logits, logits)
    # Rows that nothing is said of are documents of one chunk.
    assert model(whole["input_ids"]).logits.shape == (7, 2)


def test_a_document_is_the_mean_or_the_weighed_mean_of_its_chunks(make):
    torch.manual_seed(2)
    vectors = torch.randn(1, 4, 32)
    for kind in KINDS:
        head = make(kind).eval().document
        if kind == "attention":
            pooled = head.scorer(vectors)[0, :, 0].softmax(0) @ vectors[0]
        else:
            read = head.lstm(vectors)[0] if kind == "bilstm" else head.attention(vectors, torch.ones(1, 4).bool())
            pooled = read[0].mean(0)
        torch.testing.assert_close(head(vectors)[0], head.classifier(pooled), msg=kind)


def test_self_attention_is_torchs_own(make):
    torch.manual_seed(2)
    layer, vectors = make("transformer").eval().document.attention, torch.randn(1, 4, 32)
    placed = vectors + layer.places.weight[:4]
    parts = [part.view(1, 4, 2, 16).transpose(1, 2) for part in layer.query_key_value(placed).chunk(3, dim=-1)]
    mixed = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    found = layer(vectors, torch.ones(1, 4).bool())
    torch.testing.assert_close(found, layer.norm(placed + layer.output(mixed)))


def test_order_counts_where_it_should(make):
    whole = batch()
    turned = whole | {"chunk_idx": torch.tensor([3, 2, 1, 0, 0, 0, 5])}
    for kind, counts in (("bilstm", True), ("transformer", True), ("attention", False)):
        model = make(kind).eval()
        same = torch.allclose(model(**whole).logits[0], model(**turned).logits[0], atol=1e-6)
        assert same != counts, kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_is_bounded_with_the_same_gradient(make, kind):
    gradients = []
    for limit in (None, 2):
        model = make(kind).train()
        if limit:
            chunk_forward(model, limit)
        loss = model(**batch(), labels=torch.tensor([0, 1, 0])).loss
        loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_from_an_encoder_and_every_new_weight_is_drawn(tmp_path, make, make_model, tokenizer, kind):
    stock = make_model()
    save_model(tmp_path / "stock", stock, tokenizer)
    config = classifier_config(str(tmp_path / "stock"), BUILT_IN_TASKS["emotion"], tokenizer, hierarchical=kind)
    torch.manual_seed(0)
    model = load_classifier(str(tmp_path / "stock"), config, new_head=True)
    for name, parameter in model.document.named_parameters():
        assert parameter.isfinite().all(), name
        assert parameter.abs().max() < 2, name
        assert name.endswith("bias") or parameter.std() > 0 or "norm" in name, name
    save_model(tmp_path / "own", model, tokenizer)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "own")
    assert isinstance(again, HierarchicalBertForSequenceClassification)
    assert (tmp_path / "own" / "modeling_hierarchical.py").is_file()
    assert (tmp_path / "own" / "configuration_bert_heads.py").is_file()
    torch.testing.assert_close(again.eval()(**batch()).logits, model.eval()(**batch()).logits)


SHAPE = "{hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64, vocab_size: 300}"


@pytest.fixture
def words(reviews, tmp_path):
    rows = [
        {"text": "".join(reviews["text"][start : start + 1 + start % 5]), "label": reviews["label"][start]}
        for start in range(0, 200, 2)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "documents.csv", index=False)
    return [
        f"--train_file={tmp_path / 'documents.csv'}",
        "--task=reviews",
        "--model=scratch",
        f"--config_overrides={SHAPE}",
        "--truncation=sliding",
        "--max_length=24",
        "--stride=5",
        "--max_chunks_per_batch=8",
        "--per_device_train_batch_size=8",
        "--num_train_epochs=1",
        "--precision=fp32",
        "--disable_tqdm=true",
        "--baseline=false",
        f"--cache_dir={tmp_path}",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_way(words, tmp_path, kind, capsys):
    folder = tmp_path / kind
    run = train(parse_run_arguments([*words, f"--hierarchical={kind}", "--rdrop_alpha=0.5", f"--output_dir={folder}"]))
    chunk_level = run.metrics["fp32"]["chunk_level"]
    assert chunk_level["rows"] > run.metrics["rows"]["test"]
    assert np.sum(chunk_level["confusion_matrix"]) == chunk_level["rows"]
    texts = run.data.splits["validation"]["text"].tolist()
    torch_predictions = SentimentClassifier.from_pretrained(folder)(texts, top_chunks=2)
    assert all(len(prediction.chunks) in (1, 2) for prediction in torch_predictions)
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")
    assert main(["compress", "export", "--model", str(folder), "--quantize", "dynamic", "--max_drop", "100"]) == 0
    capsys.readouterr()
    names = {path.name for path in (folder / "onnx").iterdir()}
    assert {"model.onnx", "document_head.onnx"} < names
    expected = SentimentClassifier.from_pretrained(folder).scorer.logits(texts)
    onnx = SentimentClassifier.from_pretrained(folder, "onnx").scorer.logits(texts)
    np.testing.assert_allclose(onnx, expected, atol=1e-4)
    int8 = SentimentClassifier.from_pretrained(folder, "int8").scorer.logits(texts)
    assert np.abs(int8 - expected).max() < 0.5
    assert main(["predict", "--model", str(folder), "--backend", "int8", "--json", "--top_chunks", "1", texts[0]]) == 0
    assert len(json.loads(capsys.readouterr().out)["chunks"]) == 1


def test_a_frozen_encoder_stays_as_it_was(words, tmp_path, make_model, tokenizer):
    save_model(tmp_path / "stock", make_model(), tokenizer)
    words = [word for word in words if not word.startswith(("--model", "--config"))]
    words += [f"--model={tmp_path / 'stock'}", "--hierarchical=attention", "--freeze_encoder=true", "--max_steps=2"]
    run = train(parse_run_arguments([*words, f"--output_dir={tmp_path / 'frozen'}"]))
    from safetensors.torch import load_file

    before = load_file(tmp_path / "stock" / "model.safetensors")
    after = load_file(run.folder / "model.safetensors")
    shared = [name for name in after if name.startswith("bert.")]
    assert len(shared) > 10
    assert all(torch.equal(before[name], after[name]) for name in shared)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hierarchical=lstm"], "hierarchical none | bilstm"),
        (["--hierarchical=bilstm", "--truncation=right"], "truncation: sliding for a hierarchical model, found right"),
        (["--freeze_encoder=true"], "a hierarchical model for freeze_encoder"),
    ],
)
def test_bad_settings(words, tmp_path, options, message):
    with pytest.raises(InputError, match=message.replace("|", r"\|")):
        train(parse_run_arguments([*words, *options, f"--output_dir={tmp_path / 'run'}"]))
