"""Scripts that time models run from end to end on a tiny model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
