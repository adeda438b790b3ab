import json
import subprocess
import sys

import numpy as np
import pytest

from sentiment_hf.cli.main import main
from sentiment_hf.data.cleaning import clean
from sentiment_hf.data.tokenization import TextSettings, chunk_bounds, encode
from sentiment_hf.inference import scorer as prediction
from sentiment_hf.inference.backends import BATCH_SIZES
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import record_calibration, record_settings
from sentiment_hf.tasks import BUILT_IN_TASKS, softmax
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.folder import save_model
from sentiment_hf.training.run import train
from sentiment_hf.utils.exceptions import InputError

SENTENCES = ["房间很干净，早餐也不错。", "就是隔音差了一点，", "前台服务非常好，", "电池不耐用，", "下次还会考虑！"]


@pytest.fixture
def folder(tmp_path, make_model, tokenizer):
    def save(aggregation="mean", **more):
        model = make_model()
        settings = TextSettings(max_length=24, truncation="sliding", stride=5, aggregation=aggregation, **more)
        record_settings(model.config, tokenizer, BUILT_IN_TASKS["reviews"], settings)
        record_calibration(saved := model.config.to_dict(), temperature=2.5, threshold=None)
        model.config.sentiment_hf = saved["sentiment_hf"]
        save_model(tmp_path / aggregation, model, tokenizer)
        return tmp_path / aggregation

    return save


def document(sentences, seed=0):
    return "".join(np.random.default_rng(seed).choice(SENTENCES, sentences))


@pytest.mark.parametrize("aggregation", ["mean", "max", "logsumexp"])
def test_a_prediction_is_the_aggregate_of_its_chunks_and_shows_them(folder, aggregation):
    classifier = SentimentClassifier.from_pretrained(folder(aggregation))
    texts = [document(40), "房间很好", "", document(7, seed=1)]
    predictions = classifier(texts, top_chunks=3)
    assert [prediction.label is None for prediction in predictions] == [False, False, True, False]
    assert predictions[1].num_chunks == 1
    whole = encode(classifier.scorer.tokenizer, texts[:1], TextSettings(max_length=10_000))["input_ids"][0]
    assert predictions[0].num_chunks == len(chunk_bounds(len(whole) - 2, 24 - 2, stride=5))
    assert len(predictions[0].chunks) == 3
    label = classifier.task.label2id[predictions[0].label]
    # Each chunk read alone gives the logit that it is shown with, and stands where it says.
    cleaned = classifier.scorer.documents(texts[:1]).parts[0][0].texts[0]
    for chunk in predictions[0].chunks:
        assert cleaned[chunk.start : chunk.end] == chunk.text
        alone = classifier.scorer.logits([chunk.text])[0, label]
        assert alone == pytest.approx(chunk.logit, abs=1e-4)
    scores = [chunk.logit for chunk in predictions[0].chunks]
    assert scores == sorted(scores, reverse=True)
    logits, documents = classifier.scorer.documents(texts[:1]).chunk_logits
    assert set(documents.tolist()) == {0}
    assert scores[0] == pytest.approx(logits[:, label].max())
    if aggregation == "max":
        assert classifier.scorer.logits(texts[:1])[0, label] == pytest.approx(scores[0])
    # Company changes nothing, nor does it change how sure an answer is that its chunks are shown.
    assert classifier(texts[0]).probability == pytest.approx(predictions[0].probability, abs=1e-6)
    logits = classifier.scorer.logits(texts[:1])[0] / 2.5
    assert predictions[0].probability == pytest.approx(float(softmax(logits)[label]), abs=1e-6)


def test_passages_stand_where_the_text_as_given_says(folder):
    """Links, tags and full-width letters are gone before the model reads; places are those of the text as given."""
    classifier = SentimentClassifier.from_pretrained(folder())
    given = "头条：http://example.com/a <b>ＡＢＣ</b>" + document(30)
    prediction = classifier(given, top_chunks=40)
    assert len(prediction.chunks) == prediction.num_chunks == prediction.num_chunks_read
    cleaning = classifier.scorer.settings.cleaning
    for chunk in prediction.chunks:
        assert chunk.offsets_in == "given"
        assert clean(given[chunk.start : chunk.end], cleaning).strip() == chunk.text.strip()
    # Too long to compare letter by letter, and changed: the places are those of the cleaned text, and it says so.
    long = classifier("<b>" + document(900), top_chunks=1)
    assert long.chunks[0].offsets_in == "cleaned"
    assert "of the cleaned text" in str(long)


def test_windows_that_are_left_out_are_told(folder):
    path = folder(max_chunks=3, chunk_choice="spread")
    prediction = SentimentClassifier.from_pretrained(path)(document(40), top_chunks=5)
    assert (len(prediction.chunks), prediction.num_chunks_read) == (3, 3)
    assert prediction.num_chunks > 3
    assert prediction.to_dict()["num_chunks_read"] == 3
    assert f"Read: 3 of {prediction.num_chunks} chunks" in str(prediction)


def test_many_long_documents_are_read_few_at_a_time(folder, monkeypatch):
    monkeypatch.setattr(prediction, "CHARACTERS_AT_ONCE", 200)
    classifier = SentimentClassifier.from_pretrained(folder())
    scorer = classifier.scorer
    texts = [document(1 + seed % 7, seed) for seed in range(30)]
    shown = [sorted(chunk.text for chunk in prediction.chunks) for prediction in classifier(texts, top_chunks=2)]
    blocks = list(prediction.document_blocks(texts))
    assert [text for block in blocks for text in block] == texts
    assert len(blocks) > 3
    assert all(len(block) == 1 or sum(map(len, block)) <= 200 for block in blocks)
    documents = scorer.documents(texts)
    assert all(part[0].fields == {} for part in documents.parts), "tokens are not kept"
    monkeypatch.setattr(prediction, "CHARACTERS_AT_ONCE", 10**6)
    np.testing.assert_allclose(documents.logits, scorer.documents(texts).logits, atol=1e-5)
    assert shown == [
        sorted(chunk.text for chunk in prediction.chunks) for prediction in classifier(texts, top_chunks=2)
    ]


def test_every_backend_aggregates_alike(folder, reviews):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")
    import pandas as pd

    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization

    path = folder("logsumexp")
    texts = [document(20, seed) for seed in range(6)]
    export_model(path, pd.DataFrame({"text": texts, "label": [0, 1] * 3}), Quantization("dynamic", max_drop=100))
    logits = {
        name: SentimentClassifier.from_pretrained(path, name).scorer.logits(texts) for name in ("torch", "onnx", "int8")
    }
    np.testing.assert_allclose(logits["onnx"], logits["torch"], atol=1e-4)
    assert np.abs(logits["int8"] - logits["torch"]).max() < 0.5


def test_a_million_characters_are_classified_in_bounded_memory(folder):
    classifier = SentimentClassifier.from_pretrained(folder())
    sizes = []

    def forward(batch):
        sizes.append(batch["input_ids"].shape)
        return np.zeros((len(batch["input_ids"]), 2), dtype=np.float32)

    classifier.scorer.forward = forward
    text = document(120_000)
    assert len(text) > 1_000_000
    prediction = classifier(text, top_chunks=2)
    # Chunks of 22 tokens, each 16 further on.
    assert prediction.num_chunks > 1_000_000 / 17
    assert prediction.chunks[0].end <= len(text)
    # What must not grow are the model's activations.
    assert max(sizes) == (BATCH_SIZES["torch"], 24)
    assert sum(rows for rows, _ in sizes) == prediction.num_chunks


def test_the_command_reads_an_article(folder, tmp_path, capsys):
    path = folder()
    (tmp_path / "article.txt").write_text(document(60), encoding="gb18030")
    assert main(["predict", "--model", str(path), "--file", str(tmp_path / "article.txt"), "--top-chunks", "2"]) == 0
    shown = capsys.readouterr().out
    assert "characters)" in shown.splitlines()[0]
    assert shown.count("chunk ") == 2
    assert main(["predict", "--model", str(path), "--file", str(tmp_path / "article.txt"), "--json"]) == 0
    assert "chunks" not in json.loads(capsys.readouterr().out)
    (tmp_path / "empty.txt").write_text(" \n")
    assert main(["predict", "--model", str(path), "--file", str(tmp_path / "empty.txt")]) == 2
    assert main(["predict", "--model", str(path), "--file", str(tmp_path / "article.txt"), "--output", "x.csv"]) == 2


def test_windows_are_asked_of_models_that_have_them(model_folder):
    with pytest.raises(InputError, match="with sliding windows"):
        SentimentClassifier.from_pretrained(model_folder)("很好", top_chunks=1)


def test_a_model_without_settings_reads_all_of_a_long_text_and_says_so(tmp_path, make_model, tokenizer, caplog):
    save_model(tmp_path / "stock", make_model(), tokenizer)
    classifier = SentimentClassifier.from_pretrained(tmp_path / "stock")
    assert "longer texts in chunks of its" in caplog.text
    assert classifier(document(40), top_chunks=1).num_chunks > 1


def test_the_pipeline_predicts_as_the_classifier_does(folder):
    from transformers import pipeline

    import sentiment_hf.inference.pipeline  # noqa: F401 registers the task

    path = folder()
    texts = [document(30), "房间很好"]
    classify = pipeline("long-text-classification", model=str(path))
    expected = SentimentClassifier.from_pretrained(path)(texts, top_chunks=3)
    for found, wanted in zip(classify(texts), expected, strict=True):
        assert found["label"] == wanted.label
        assert found["probability"] == pytest.approx(wanted.probability, abs=1e-6)
        assert [chunk["text"] for chunk in found["chunks"]] == [chunk.text for chunk in wanted.chunks]
    assert len(classify(texts[0], top_chunks=1)["chunks"]) == 1
    # Given when it is made, a setting stays; several texts may come in any form, their chunks in batches of any size.
    one = pipeline("long-text-classification", model=str(path), top_chunks=1, batch_size=3)
    assert [len(prediction["chunks"]) for prediction in one(texts)] == [1, 1]
    assert len(one(texts[0], top_chunks=2)["chunks"]) == 2
    for predictions in (one(texts, batch_size=2), list(one(text for text in texts)), one(tuple(texts), top_k=1)):
        assert [prediction["label"] for prediction in predictions] == [wanted.label for wanted in expected]
    with pytest.raises(TypeError, match="top_chunk"):
        classify(texts, top_chunk=1)


HIERARCHICAL = """
import sys, json
from transformers import pipeline
import sentiment_hf.inference.pipeline
print(json.dumps(pipeline("long-text-classification", model=sys.argv[1])(sys.argv[2])["label"]))
"""


def test_the_pipeline_loads_models_of_our_own(tmp_path, tiny_arguments):
    """In a process of its own, where nothing else has registered their classes."""
    words = [*tiny_arguments, "--truncation=sliding", "--hierarchical=attention", "--max_steps=2", "--baseline=false"]
    run = train(parse_run_arguments(words)).folder
    command = [sys.executable, "-c", HIERARCHICAL, str(run), document(20)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == SentimentClassifier.from_pretrained(run)(document(20)).label
