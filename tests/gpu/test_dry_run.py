"""recipes/gpu/measure.py where there is no GPU: everything runs, nothing is called measured, what fails is said."""

import importlib.util
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

MEASURE = Path(__file__).parents[2] / "recipes/gpu/measure.py"


@pytest.fixture(scope="module")
def measure():
    spec = importlib.util.spec_from_file_location("measure", MEASURE)
    module = sys.modules["measure"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["measure"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU it measures")
def test_a_dry_run_runs_and_measures_nothing(measure, reviews, model_folder, tmp_path):
    """Of two parts one runs and one cannot; what a GPU has measured before is kept."""
    (tmp_path / "data/chnsenticorp").mkdir(parents=True)
    reviews.to_csv(tmp_path / "data/chnsenticorp/train.tsv", sep="\t", index=False)
    out = tmp_path / "out"
    (out / "rows").mkdir(parents=True)
    (out / "rows/speed.jsonl").write_text('{"row": "bf16, sdpa", "rows a second": 743}\n', encoding="utf-8")
    (out / "machine.json").write_text('{"card": "a card"}', encoding="utf-8")
    command = [sys.executable, str(MEASURE), "--data_dir", str(tmp_path / "data"), "--output_dir", str(out)]
    command += ["--model", str(model_folder), "--parts", "throughput", "onnx"]
    done = subprocess.run(command, capture_output=True, text=True)
    # The model was never exported.
    assert done.returncode == 1
    assert "onnx: error: Expected a model with onnx/model.onnx" in done.stdout
    assert "throughput: done" in done.stdout
    # It did run, on the CPU, and what it saw stands apart.
    seen = [json.loads(line) for line in (out / "rows-dry/throughput.jsonl").read_text().splitlines()]
    assert seen[0]["reviews a second"] > 0
    found = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    assert found["parts"]["throughput"]["torch, fp32, batches of 32"] == {"note": "not run: no GPU"}
    text = (out / "gpu.md").read_text(encoding="utf-8")
    assert "card a card." in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert len(rows) == sum(len(part.rows) for part in measure.PARTS.values())
    assert [line for line in rows if "not run" not in line] == ["| bf16, sdpa | 743 | – |"]


def test_a_part_that_takes_too_long_is_stopped_with_all_that_it_started(measure, monkeypatch, tmp_path):
    script = tmp_path / "slow.py"
    script.write_text("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])\n")
    monkeypatch.setattr(measure, "__file__", str(script))
    monkeypatch.setattr(measure.torch.cuda, "is_available", lambda: True)
    slow = measure.Part(measure.speed, 2, ("seconds",), ("any",))
    monkeypatch.setitem(measure.PARTS, "speed", slow)
    assert measure.in_own_process("speed", [], tmp_path) == "stopped after 2 s"


def test_processes_of_several_threads_end_with_their_own_code(measure, monkeypatch, tmp_path):
    """Also where one ends while another is started, and where one dies with nothing said."""
    monkeypatch.syspath_prepend(MEASURE.parent)
    monkeypatch.syspath_prepend(tmp_path)
    lines = ["import os, time", "def main(words):", "    time.sleep(0.02)", "    if words: os._exit(7)", "    return 0"]
    (tmp_path / "brief.py").write_text("\n".join(lines), encoding="utf-8")

    def run(number):
        return measure.in_fork("brief", ["die"] if number == 9 else [], tmp_path / f"{number}.log", {})

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(run, range(40)))
    assert codes[:9] + codes[10:] == [0] * 39
    assert codes[9] != 0


def test_seeds_that_finished_are_kept(measure, monkeypatch, tmp_path):
    """The mean of those that there are, with how many; one that fails costs itself alone."""
    monkeypatch.setattr(measure, "KINDS", {"reviews": measure.KINDS["reviews"]})
    monkeypatch.setattr(measure.Bench, "sample", lambda self, name, rows: tmp_path)

    def train(self, name, kind, keys):
        if keys["seed"] == 44 and keys["precision"] == "fp16":
            raise RuntimeError("no more memory")
        return {"losses": [0.7, 0.5], "score": 80.0 + keys["seed"] - 42, "peak_memory_mb": {"gpu": 100.0}}

    monkeypatch.setattr(measure.Bench, "train", train)
    bench = measure.Bench(tmp_path, tmp_path, None, dry=False)
    rows = list(measure.training(bench))
    last = dict(rows)
    assert last["reviews, bf16"]["seeds"] == 3
    assert last["reviews, bf16"]["macro-F1"] == "81.00 ± 1.00"
    errors = [figures["error"] for row, figures in rows if "error" in figures]
    assert errors == ["no more memory"]
    assert [figures["seeds"] for row, figures in rows if row == "reviews, fp16" and "seeds" in figures] == [1, 2]
