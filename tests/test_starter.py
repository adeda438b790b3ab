"""The models that come with the package: what they are, and that they work without anything else."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sentiment_hf import SentimentClassifier
from sentiment_hf.cli.main import main
from sentiment_hf.distillation.student import load_encoder
from sentiment_hf.modeling.loading import load_tokenizer
from sentiment_hf.modeling.names import STARTER_FOLDER
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.run import train

ROOT = Path(__file__).parents[1]
REVIEWS = STARTER_FOLDER / "reviews"


def megabytes(*paths: Path) -> float:
    return sum(path.stat().st_size for path in paths) / 1e6


def test_the_starter_is_what_its_page_says():
    weights = load_file(STARTER_FOLDER / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert sum(tensor.numel() for tensor in weights.values()) == 11_277_696
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    assert megabytes(STARTER_FOLDER / "model.safetensors") < 23.5
    config = json.loads((STARTER_FOLDER / "config.json").read_text(encoding="utf-8"))
    assert (config["num_hidden_layers"], config["hidden_size"], config["vocab_size"]) == (4, 384, 9984)
    assert config["hidden_dropout_prob"] == 0.1


def test_its_tokenizer_reads_chinese():
    tokenizer = load_tokenizer("starter")
    text = "酒店的位置很好，早餐也不错，就是隔音差了点。"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert len(ids) < len(text)
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace("，", ",")


def test_texts_that_mean_the_same_are_near_each_other():
    encoder, tokenizer = load_encoder("starter").eval(), load_tokenizer("starter")
    texts = ["房间很吵，睡不着", "夜里噪音太大，没法休息", "这本书的印刷质量很好"]
    batch = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        hidden = encoder(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    sentences = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    assert sentences[0] @ sentences[1] > sentences[0] @ sentences[2]


def test_a_recipe_fine_tunes_it(train_file, tmp_path):
    words = ["--model=starter", f"--train_file={train_file}", f"--output_dir={tmp_path / 'run'}", "--task=reviews"]
    words += ["--max_length=32", "--num_train_epochs=3", "--learning_rate=3e-4", "--baseline=false", "--precision=fp32"]
    metrics = train(parse_run_arguments([*words, f"--cache_dir={tmp_path}", "--disable_tqdm=true"])).metrics
    # Three dozen steps: random weights would stay near 0.5.
    assert metrics["fp32"]["accuracy"] > 0.9


def test_the_command_predicts_without_a_model_of_ones_own(capsys):
    pytest.importorskip("onnxruntime")
    assert main(["predict", "--json", "房间很吵，再也不来了", "物流很快，孩子很喜欢"]) == 0
    predictions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [prediction["label"] for prediction in predictions] == ["negative", "positive"]


def test_the_ready_classifier_is_one_small_file_for_every_processor():
    pytest.importorskip("onnxruntime")
    classifier = SentimentClassifier.from_pretrained()
    assert classifier.backend == "int8"
    assert classifier.file == REVIEWS / "onnx" / "model_quint8_avx2.onnx"
    assert classifier.task.labels == ("negative", "positive")
    assert megabytes(*(path for path in REVIEWS.rglob("*") if path.is_file())) < 12
    assert "/" not in json.loads((REVIEWS / "config.json").read_text(encoding="utf-8")).get("_name_or_path", "")


@pytest.mark.shared
def test_the_ready_classifier_knows_reviews_that_it_never_saw(shared):
    pytest.importorskip("onnxruntime")
    from sentiment_hf.data.sources import load_file as load_rows

    rows = load_rows(shared / "data" / "chnsenticorp" / "test.tsv").head(400)
    predictions = SentimentClassifier.from_pretrained()(rows["text"])
    right = [
        prediction.label == ("positive" if label == "1" else "negative")
        for prediction, label in zip(predictions, rows["label"], strict=True)
    ]
    assert sum(right) / len(right) > 0.88


FILES_FOR_A_WHEEL = ("setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the sources: building leaves files beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in tracked.stdout.splitlines():
        if name.startswith(("sentiment_hf/", "spaces_demo/")) or name in FILES_FOR_A_WHEEL:
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder)]
    subprocess.run([*words, str(folder / "source")], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_models(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    wanted = ["starter/model.safetensors", "starter/tokenizer.json", "starter/README.md", "starter/config.json"]
    wanted += ["starter/reviews/config.json", "starter/reviews/tokenizer.json"]
    wanted += ["starter/reviews/onnx/model_quint8_avx2.onnx", "evaluation/sentiment_metrics/sentiment_metrics.py"]
    wanted += [f"spaces_demo/{name}" for name in ("README.md", "app.py", "requirements.txt")]
    assert {f"sentiment_hf/{name}" for name in wanted} <= set(names)
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names if ".dist-info/" in name}
    assert not any("runs/" in name or name.startswith("tests/") for name in names)


# What a machine without network does, in a process that says where its sentiment_hf comes from.
ELSEWHERE = """
import json, socket, sys

def refuse(*_):
    raise OSError("no network here")

socket.socket.connect = socket.getaddrinfo = refuse
import sentiment_hf
from sentiment_hf.cli.main import main
from sentiment_hf.publishing.push import space_folder
print(sentiment_hf.__file__)
# What `push --space` sends.
print(space_folder())
sys.exit(max(main(words) for words in json.loads(sys.argv[1])))
"""


def test_the_wheel_works_elsewhere_without_sources_and_network(wheel, train_file, tmp_path):
    pytest.importorskip("onnxruntime")
    installed = tmp_path / "installed"
    words = ["install", "--no-deps", "--no-index", "--quiet", "--target", str(installed), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True)
    # Online as far as the environment says: it has to do without by itself.
    kept = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "PYTHONPATH")}
    environment = kept | {"PYTHONPATH": str(installed), "HF_HOME": str(tmp_path / "home")}
    training = ["--model=starter", f"--train_file={train_file}", f"--output_dir={tmp_path / 'run'}", "--task=reviews"]
    training += ["--max_length=32", "--max_steps=3", "--baseline=false", "--precision=fp32", f"--cache_dir={tmp_path}"]
    predict = ["predict", "--json"]
    verbs = [[*predict, "房间很吵，再也不来了"], ["train", *training, "--disable_tqdm=true"]]
    verbs.append([*predict, "--model", str(tmp_path / "run"), "很好"])
    command = [sys.executable, "-c", ELSEWHERE, json.dumps(verbs)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, space, *printed = done.stdout.splitlines()
    assert Path(where).is_relative_to(installed)
    assert Path(space) == installed / "sentiment_hf" / "spaces_demo"
    assert (Path(space) / "app.py").read_bytes() == (ROOT / "spaces_demo" / "app.py").read_bytes()
    predictions = [json.loads(line) for line in printed if line.startswith("{")]
    assert predictions[0]["label"] == "negative"
    assert predictions[1]["label"] in ("negative", "positive")
