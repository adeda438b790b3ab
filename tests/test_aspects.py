"""Aspects and stars through the whole house: files in, a trained model, ONNX and INT8, predictions out."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch

from sentiment_hf.cli.main import main
from sentiment_hf.data.tokenization import encode
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.run import train
from sentiment_hf.utils.exceptions import InputError

SHAPE = (
    "{hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64, vocab_size: 300, "
    "initializer_range: 0.2}"
)
VALUES = {1: "很好", 0: "一般", -1: "很差", -2: None}


def review(taste, noise, star):
    parts = [f"{subject}{VALUES[value]}" for subject, value in (("味道", taste), ("环境", noise)) if VALUES[value]]
    return {"text": "，".join(parts) or "路过", "taste": taste, "noise": noise, "star": star}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aspects")
    cells = list(itertools.product(VALUES, VALUES)) * 30
    rows = [
        review(taste, noise, 5 if taste == 1 else 1) | {"id": number} for number, (taste, noise) in enumerate(cells)
    ]
    rows = [row | {"text": f"{row['text']}，第{row['id']}次"} for row in rows]
    # Some cells say nothing at all.
    rows[3]["taste"], rows[5]["star"] = "", ""
    pd.DataFrame(rows, dtype=object).to_csv(folder / "train.csv", index=False)
    return [
        "--task=aspects",
        "--aspects=[taste, noise]",
        f"--train_file={folder / 'train.csv'}",
        "--model=scratch",
        f"--config_overrides={SHAPE}",
        "--max_length=32",
        "--per_device_train_batch_size=8",
        "--precision=fp32",
        "--disable_tqdm=true",
        f"--cache_dir={folder}",
    ]


@pytest.fixture(scope="module")
def run(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "aspects"
    options = ["--num_train_epochs=12", "--learning_rate=5e-3", "--rdrop_alpha=0.5", "--class_weights=balanced"]
    options.append("--pooling=attention")
    return train(parse_run_arguments([*words, *options, f"--output_dir={folder}"]))


def test_it_learns_and_its_scores_are_written(run):
    scores = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["fp32"]
    assert scores["macro_f1"] > 0.9
    assert scores["mentioned_macro_f1"] > 0.9
    assert scores["rating_mae"] < 1.0
    assert set(scores["per_aspect"]) == {"taste", "noise"}
    assert scores["validation"]["mentioned_macro_f1"] > 0.9


def test_predictions(run, tmp_path, capsys):
    (tmp_path / "in.csv").write_text("id,text\n1,味道很好，环境很差\n2,\n", encoding="utf-8")
    assert main(["predict", "--model", str(run.folder), "味道很好，环境很差", "", "--json"]) == 0
    prediction, empty = map(json.loads, capsys.readouterr().out.splitlines())
    assert {name: cell["label"] for name, cell in prediction["aspects"].items()} == {
        "taste": "positive",
        "noise": "negative",
    }
    assert prediction["rating"] == 5
    assert 1 <= prediction["expected_rating"] <= 5
    assert empty["aspects"] == {}
    assert empty["reason"] == "empty text"
    output = tmp_path / "out.csv"
    assert (
        main(["predict", "--model", str(run.folder), "--file", str(tmp_path / "in.csv"), "--output", str(output)]) == 0
    )
    table = pd.read_csv(output, dtype=str, keep_default_na=False)
    assert table["predicted_taste"].tolist() == ["positive", ""]
    assert table["predicted_rating"].tolist()[1] == ""


def test_evaluate_reads_what_was_saved(run, capsys):
    assert main(["evaluate", "--model", str(run.folder), "--data", str(run.folder / "splits/test.jsonl")]) == 0
    written = json.loads((run.folder / "evaluation/test/metrics.json").read_text(encoding="utf-8"))["fp32"]
    assert written["macro_f1"] == run.metrics["fp32"]["macro_f1"]


def test_onnx_and_int8(run):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")
    from optimum.onnxruntime import ORTModelForCustomTasks

    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization
    from sentiment_hf.inference.predictor import SentimentClassifier

    validation = run.data.splits["validation"]
    exported = export_model(run.folder, validation, Quantization("dynamic", max_drop=100))
    texts = validation["text"].tolist()
    logits = {
        backend: SentimentClassifier.from_pretrained(run.folder, backend).scorer.logits(texts)
        for backend in ("torch", "onnx", "int8")
    }
    assert logits["torch"].shape == (len(texts), 2 * 4 + 4)
    np.testing.assert_allclose(logits["onnx"], logits["torch"], atol=1e-4)
    assert (logits["int8"][:, :4].argmax(1) == logits["torch"][:, :4].argmax(1)).mean() > 0.9
    assert exported.gate is not None
    own = ORTModelForCustomTasks.from_pretrained(run.folder, subfolder="onnx", file_name="model.onnx")
    scorer = SentimentClassifier.from_pretrained(run.folder).scorer
    batch = encode(scorer.tokenizer, texts[:1], scorer.settings)
    outputs = own(**{name: torch.tensor(values) for name, values in batch.items()})
    torch.testing.assert_close(torch.as_tensor(outputs["logits"]).flatten(), torch.tensor(logits["torch"][0, :8]))
    torch.testing.assert_close(torch.as_tensor(outputs["rating"]).flatten(), torch.tensor(logits["torch"][0, 8:]))


def test_cutting_a_batch_changes_nothing(words, tmp_path):
    """Missing cells count in no batch, so that the normaliser has to be rows and not labels."""
    trained = {}
    for name, size, steps in (("whole", 8, 1), ("pieces", 1, 8)):
        shape = SHAPE[:-1] + ", hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}"
        options = [
            f"--per_device_train_batch_size={size}",
            f"--gradient_accumulation_steps={steps}",
            f"--config_overrides={shape}",
            "--max_steps=3",
            "--optim=sgd",
            "--learning_rate=0.1",
            "--max_grad_norm=0",
            "--length_grouping=false",
            "--class_weights=balanced",
            "--eval_strategy=no",
            "--save_strategy=no",
            "--load_best_model_at_end=false",
            "--baseline=false",
        ]
        run = train(parse_run_arguments([*words, *options, f"--output_dir={tmp_path / name}"]))
        from safetensors.torch import load_file

        trained[name] = load_file(run.folder / "model.safetensors")
    for name, value in trained["whole"].items():
        torch.testing.assert_close(value, trained["pieces"][name], rtol=1e-4, atol=2e-6, msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sampler=weighted"], "sampler: none for aspects"),
        (["--class_weights={good: 2}"], "class_weights for negative, neutral, positive, not mentioned, found 'good'"),
        (["--task_weights={star: 2}"], "task_weights for aspects, rating"),
        (["--rating=maybe"], "rating none | ordinal | regression"),
        (["--rating_column=grade"], "a rating column 'grade'"),
        (["--aspects=[taste, smell]"], "'smell'"),
        (["--labels={a: b}"], "no `labels:`"),
    ],
)
def test_bad_settings_write_nothing(words, tmp_path, options, message):
    with pytest.raises(InputError, match=message.replace("|", r"\|")):
        train(parse_run_arguments([*words, *options, f"--output_dir={tmp_path / 'run'}"]))
    assert not (tmp_path / "run").exists()


@pytest.mark.shared
def test_the_published_files_load_train_and_predict(shared, tmp_path):
    data = shared / "data/asap_sample"
    recipe = "recipes/aspects/plain.yaml"
    words = [f"--config={recipe}", f"--data_dir={data}", f"--output_dir={tmp_path / 'run'}", "--max_steps=2"]
    words += [f"--{split}_file={name}_sample.csv" for split, name in (("train", "train"), ("validation", "dev"))]
    words += ["--test_file=test_sample.csv", "--max_length=32", "--disable_tqdm=true", f"--cache_dir={tmp_path}"]
    run = train(
        parse_run_arguments([*words, "--eval_strategy=no", "--save_strategy=no", "--load_best_model_at_end=false"])
    )
    assert len(run.metrics["fp32"]["per_aspect"]) == 18
    assert run.metrics["fp32"]["rated_rows"] == 100
    assert run.metrics["baseline"]["rating_mae"] < 1.0
