"""Models from elsewhere that choose no single label: their figures are those of transformers' own pipeline."""

import csv
import json
import threading
import urllib.request

import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, pipeline

from sentiment_hf.cli.main import main
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import task_of
from sentiment_hf.utils.exceptions import InputError

TEXTS = ["房间非常好。", "早餐非常差，下次还会考虑。", "电池又脏又旧！朋友也这么说。"]
LABELS = ("服务", "价格", "location, far", "味道")
# What a config may say -> labels of the model.
KINDS = {
    "several": ("multi_label_classification", LABELS),
    "several_of_one": ("multi_label_classification", ("服务",)),
    "regression": ("regression", ("LABEL_0",)),
    "regressions": ("regression", ("valence", "arousal")),
    "one_output": (None, ("LABEL_0",)),
    "one_output_single": ("single_label_classification", ("LABEL_0",)),
    "single": ("single_label_classification", ("negative", "positive")),
    "silent": (None, ("negative", "positive", "neutral")),
}
try:
    BertConfig(num_labels=1, problem_type="single_label_classification")
except ValueError:
    # Refused by the newest transformers itself.
    del KINDS["one_output_single"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer):
    """One stock BERT a kind, as `save_pretrained` leaves it, nothing of this package in it."""
    home = tmp_path_factory.mktemp("kinds")
    for name, (problem_type, labels) in KINDS.items():
        torch.manual_seed(3)
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.3,
            pad_token_id=tokenizer.pad_token_id,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            problem_type=problem_type,
        )
        BertForSequenceClassification(config).save_pretrained(home / name)
        tokenizer.save_pretrained(home / name)
    return home


def pipelines_scores(folder, texts):
    """`[{label: score}]` by transformers' own pipeline and its own choice of the function."""
    classify = pipeline("text-classification", model=str(folder), device="cpu")
    return [{row["label"]: row["score"] for row in rows} for rows in classify(texts, top_k=None)]


def ours(prediction):
    """The same figures out of our JSON."""
    prediction = prediction.to_dict()
    if "probabilities" in prediction:
        return prediction["probabilities"]
    if "scores" in prediction:
        return prediction["scores"]
    return (
        prediction["score"]
        if "score" in prediction
        else {row["label"]: row["probability"] for row in prediction["top"]}
    )


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_the_pipelines(folders, kind):
    expected = pipelines_scores(folders / kind, TEXTS)
    for given, wanted in zip(SentimentClassifier.from_pretrained(folders / kind)(TEXTS), expected, strict=True):
        found = ours(given)
        found = found if isinstance(found, dict) else {"LABEL_0": found}
        assert found == pytest.approx(wanted, abs=1e-5)
        if kind.startswith("several"):
            chosen = sorted((label for label in wanted if wanted[label] > 0.5), key=lambda label: -wanted[label])
            assert given.to_dict()["labels"] == chosen


@pytest.mark.parametrize("kind", ["several", "regression"])
def test_figures_of_the_onnx_file_too(folders, kind, tmp_path):
    pytest.importorskip("optimum.exporters.onnx", reason="needs the onnx extra")
    folder = tmp_path / kind
    folder.mkdir()
    for file in (folders / kind).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    assert main(["compress", "export", "--model", str(folder), "--quantize", "none"]) == 0
    (folder / "model.safetensors").unlink()
    classifier = SentimentClassifier.from_pretrained(folder)
    assert classifier.backend == "onnx"
    for given, wanted in zip(classifier(TEXTS), pipelines_scores(folders / kind, TEXTS), strict=True):
        found = ours(given)
        assert (found if isinstance(found, dict) else {"LABEL_0": found}) == pytest.approx(wanted, abs=1e-4)


def test_predict_says_it_in_every_form(folders, tmp_path, capsys):
    several, regression = str(folders / "several"), str(folders / "regression")
    expected = pipelines_scores(several, TEXTS)
    assert main(["predict", "--model", several, TEXTS[0]]) == 0
    shown = capsys.readouterr().out
    assert all(f"{label}={expected[0][label]:.3f}" in shown for label in LABELS)
    assert main(["predict", "--model", regression, "--json", TEXTS[0]]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(
        pipelines_scores(regression, TEXTS)[0]["LABEL_0"], abs=1e-5
    )
    table = tmp_path / "in.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *([str(row), text] for row, text in enumerate([*TEXTS, ""]))])
    for kind in ("csv", "jsonl", "parquet"):
        output = tmp_path / f"out.{kind}"
        assert main(["predict", "--model", several, "--file", str(table), "--output", str(output)]) == 0
        if kind == "csv":
            with output.open(encoding="utf-8-sig", newline="") as file:
                rows = list(csv.DictReader(file))
            labels = [json.loads(row["predicted_labels"]) for row in rows[:3]]
            found = [{label: float(row[f"probability_{label}"]) for label in LABELS} for row in rows[:3]]
            assert rows[3]["predicted_labels"] == ""
            assert rows[3]["reason"] in ("missing text", "empty text")
        elif kind == "parquet":
            rows = pq.read_table(output).to_pylist()
            labels = [json.loads(row["predicted_labels"]) for row in rows[:3]]
            found = [{label: row[f"probability_{label}"] for label in LABELS} for row in rows[:3]]
        else:
            rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
            labels = [row["labels"] for row in rows[:3]]
            found = [row["probabilities"] for row in rows[:3]]
            assert rows[3]["reason"] in ("missing text", "empty text")
        for prediction, wanted in zip(found, expected, strict=True):
            assert prediction == pytest.approx(wanted, abs=1e-5)
        assert labels == [
            sorted((label for label in row if row[label] > 0.5), key=lambda label, row=row: -row[label])
            for row in expected
        ]
    output = tmp_path / "scores.csv"
    assert main(["predict", "--model", regression, "--file", str(table), "--output", str(output)]) == 0
    with output.open(encoding="utf-8-sig", newline="") as file:
        found = [float(row["score"]) for row in list(csv.DictReader(file))[:3]]
    assert found == pytest.approx([row["LABEL_0"] for row in pipelines_scores(regression, TEXTS)], abs=1e-5)


@pytest.mark.parametrize("kind", ["several", "one_output"])
def test_serve_says_it_in_json(folders, kind):
    uvicorn = pytest.importorskip("uvicorn", reason="needs the serve extra")
    from sentiment_hf.cli.serve import bind
    from sentiment_hf.serving.api import build_api

    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
    api = build_api(SentimentClassifier.from_pretrained(folders / kind))
    server = uvicorn.Server(uvicorn.Config(api, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        body = json.dumps({"texts": TEXTS}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            predictions = json.load(response)["predictions"]
    finally:
        server.should_exit = True
        thread.join()
    for prediction, wanted in zip(predictions, pipelines_scores(folders / kind, TEXTS), strict=True):
        found = prediction["probabilities"] if kind == "several" else {"LABEL_0": prediction["score"]}
        assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--model", "MODEL", "--data", "DATA"],
        ["evaluate", "--errors", "--model", "MODEL", "--data", "DATA", "--output_dir", "OUT"],
        ["evaluate", "--calibrate", "--model", "MODEL", "--data", "DATA"],
        ["evaluate", "--model", "MODEL", "--compare", "MODEL", "--data", "DATA"],
        ["compress", "bench", "--model", "MODEL", "--data", "DATA"],
        ["explain", "--model", "MODEL", "房间很好"],
        ["explain", "--faithfulness", "--model", "MODEL", "--data", "DATA"],
        ["data", "judge", "--model", "MODEL", "--data", "DATA", "--output_dir", "OUT", "--llm", "nobody"],
        ["compress", "export", "--model", "MODEL", "--validation_file", "DATA", "--quantize", "dynamic"],
        ["compress", "prune", "--model", "MODEL", "--importance_file", "DATA", "--heads", "0.5", "--output_dir", "OUT"],
        ["train", "--model", "scratch", "--distill_from", "MODEL", "--train_file", "DATA", "--output_dir", "OUT"],
    ],
    ids=lambda words: words[0],
)
def test_what_needs_one_label_refuses_it_in_a_sentence(folders, train_file, tmp_path, capsys, words):
    before = sorted(path.name for path in (folders / "several").iterdir())
    places = {"MODEL": str(folders / "several"), "DATA": str(train_file), "OUT": str(tmp_path / "out")}
    assert main([places.get(word, word) for word in words]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert "one of multi_label_classification" in error[0]
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in (folders / "several").iterdir()) == before


def test_the_page_refuses_it(folders):
    from sentiment_hf.serving.page.models import PageModels

    with pytest.raises(InputError, match="one of regression"):
        PageModels.load(str(folders / "regression"))


def test_a_classifier_trained_from_it_is_one_of_one_label(folders, tokenizer):
    from sentiment_hf.modeling.classifier import classifier_config
    from sentiment_hf.tasks import BUILT_IN_TASKS

    config = classifier_config(str(folders / "several"), BUILT_IN_TASKS["reviews"], tokenizer)
    assert config.problem_type is None
    assert task_of(config).labels == ("negative", "positive")
