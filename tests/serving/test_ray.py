"""Parts through Ray Data are the parts of this process.

python -m pytest -m ray tests/serving/test_ray.py
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sentiment_hf.cli.main import main


def read(folder):
    return [
        json.loads(line)
        for part in sorted(folder.glob("part-*"))
        for line in part.read_text(encoding="utf-8").splitlines()
    ]


@pytest.mark.ray
def test_ray_writes_the_same_parts(model_folder, train_file, tmp_path):
    pytest.importorskip("ray")
    words = ["predict", "--model", model_folder, "--file", train_file, "--num_shards", 5, "--output"]
    words = [str(word) for word in words]
    assert main([*words, str(tmp_path / "local")]) == 0
    # A part that is there is not written again.
    assert main([*words, str(tmp_path / "ray"), "--shard_index", "3"]) == 0
    kept = (tmp_path / "ray" / "part-00003-of-00005.jsonl").stat()
    # In a process of its own: Ray leaves threads behind in the one that starts it.
    command = [sys.executable, "-m", "sentiment_hf", *words, str(tmp_path / "ray")]
    command += ["--engine", "ray", "--num_actors", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "5 of 5 parts" in done.stdout
    assert (tmp_path / "ray" / "part-00003-of-00005.jsonl").stat() == kept
    local, ray = read(tmp_path / "local"), read(tmp_path / "ray")
    assert [row["text"] for row in ray] == [row["text"] for row in local]
    for one, other in zip(local, ray, strict=True):
        assert other["label"] == one["label"]
        assert other["probability"] == pytest.approx(one["probability"], abs=1e-5)
    assert sorted(path.name for path in (tmp_path / "ray").iterdir()) == [
        "_manifest.json",
        *(f"part-0000{n}-of-00005.jsonl" for n in range(5)),
    ]


@pytest.mark.ray
def test_a_killed_worker_is_started_again(model_folder, tmp_path):
    pytest.importorskip("ray")
    script = Path(__file__).parents[1] / "reliability/killed_job.py"
    words = [sys.executable, script, "--engine=ray", "--shards=20", f"--model={model_folder}", f"--folder={tmp_path}"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "status 0 and 0; 2,000 rows, every one once and in order" in done.stdout


def test_without_ray_the_extra_is_named(model_folder, train_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["predict", "--model", str(model_folder), "--file", str(train_file), "--output", str(tmp_path / "parts")]
    assert main([*words, "--num_shards", "2", "--engine", "ray"]) == 2
    assert "pip install 'sentiment_hf[ray]'" in capsys.readouterr().err
