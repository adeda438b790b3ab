"""Scripts that time models run from end to end on a tiny model."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, set_seed

from sentiment_hf.modeling.loading import load_config, load_tokenizer

SCRIPTS = Path(__file__).parents[1] / "recipes/starter"


def test_runtimes_are_compared(model_folder, reviews):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra")
    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization

    rows = reviews.assign(label=(reviews["label"] == "positive").astype(int))
    export_model(model_folder, rows, Quantization("dynamic", max_drop=100))
    script = SCRIPTS.parent / "compression" / "runtimes.py"
    words = [sys.executable, str(script), str(model_folder), "--shapes", "1x8", "4x16", "--rounds", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert [row[0] for row in table[2:]] == ["1x8", "4x16", "distance"]
    assert {"torch", "onnx", "int8", "torch, bfloat16", "int8, I/O binding"} <= set(table[0])
    distance = dict(zip(table[0], table[-1], strict=True))
    assert float(distance["onnx"]) == 0.0


def test_steps_of_training_are_compared(model_folder):
    script = SCRIPTS.parent / "compression" / "training_step.py"
    words = ["--encoder", model_folder, "--shapes", "2x8", "4x16", "--rounds", "1", "--threads", "1"]
    done = subprocess.run([sys.executable, str(script), *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert table[0][1:] == ["2x8", "4x16"]
    assert [row[0].split()[:2] for row in table[2:]][::4] == [["fp32", "sdpa"], ["bf16", "eager"]]
    assert all(float(cell) > 0 for row in table[2:] for cell in row[1:])


def test_heads_are_timed_in_every_backend(model_folder, train_file, tmp_path):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra")
    words = ["--data", train_file, "--encoder", model_folder, "--heads", 2, 4, "--max_texts", 20, "--rounds", 1]
    command = [sys.executable, SCRIPTS / "heads.py", *words, "--threads", 1, "--output_dir", tmp_path / "heads"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = [f"{heads} heads, {backend}" for heads in (2, 4) for backend in ("torch", "onnx", "int8")]
    assert [line.split(" | ")[0].strip("| ") for line in done.stdout.splitlines()[2:]] == names
    figures = json.loads((tmp_path / "heads" / "heads.json").read_text(encoding="utf-8"))
    assert all(figures["reviews_per_s"][name] > 0 for name in names)
    assert set(figures["p50_p99_ms"]) == {"16"}
    for heads in (2, 4):
        config = json.loads((tmp_path / "heads" / f"heads-{heads}" / "config.json").read_text(encoding="utf-8"))
        assert (config["num_attention_heads"], config["hidden_size"]) == (heads, 32)
    refused = subprocess.run([*map(str, command), "--heads", "5"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: Expected heads that divide the hidden size, 32, found 5.")


@pytest.fixture
def teacher(tmp_path):
    """Of twelve layers in the starter's shape, without a pooler; the same tokens under other ids, and more of them."""
    folder = tmp_path / "teacher"
    load_tokenizer("starter").save_pretrained(folder)
    file = folder / "tokenizer.json"
    saved = json.loads(file.read_text(encoding="utf-8"))
    tokens = saved["model"]["vocab"]
    special = {token["id"] for token in saved["added_tokens"]}
    tokens += [[f"多余的{number}", -30.0] for number in range(7)]
    places = [place for place in range(len(tokens)) if place not in special]
    for place, token in zip(places, [tokens[place] for place in reversed(places)], strict=True):
        tokens[place] = token
    file.write_text(json.dumps(saved), encoding="utf-8")
    sizes = {"vocab_size": len(tokens), "num_hidden_layers": 12, "dtype": "float32"}
    torch.manual_seed(1)
    BertModel(BertConfig.from_dict(load_config("starter").to_dict() | sizes), False).save_pretrained(folder)
    return folder


def test_what_the_starter_is_held_against(teacher, tmp_path, monkeypatch):
    script, out = SCRIPTS / "compare.py", tmp_path / "compare"
    monkeypatch.setattr(sys, "argv", [str(script), "--teacher", str(teacher), "--output_dir", str(out)])
    runpy.run_path(str(script), run_name="__main__")
    assert {path.name for path in out.iterdir()} == {"undistilled", "random-42", "random-43", "random-44"}
    deep, others = AutoModel.from_pretrained(teacher), AutoTokenizer.from_pretrained(teacher)
    copied, own = AutoModel.from_pretrained(out / "undistilled"), AutoTokenizer.from_pretrained(out / "undistilled")
    text = "酒店的位置很好,早餐也不错。"
    ids, theirs = own(text, return_tensors="pt")["input_ids"], others(text, return_tensors="pt")["input_ids"]
    assert ids.tolist() == load_tokenizer("starter")(text, return_tensors="pt")["input_ids"].tolist() != theirs.tolist()
    embedded = [model.embeddings.word_embeddings(read) for model, read in ((copied, ids), (deep, theirs))]
    # Saved in half precision, as the starter is.
    assert torch.equal(*(vectors.half() for vectors in embedded))
    for place, layer in enumerate((0, 4, 8, 11)):
        weights = [model.encoder.layer[at].output.dense.weight for model, at in ((copied, place), (deep, layer))]
        assert torch.equal(*(weight.half() for weight in weights))
    # The first is drawn by its seed alone, and so is the last.
    for seed in (42, 44):
        set_seed(seed)
        models = AutoModel.from_config(load_config("starter")), AutoModel.from_pretrained(out / f"random-{seed}")
        assert torch.equal(*(model.encoder.layer[3].output.dense.weight.half() for model in models))
