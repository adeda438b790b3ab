"""The scripts that make sets of articles out of others' files."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SCRIPTS = Path(__file__).parents[1] / "recipes/topics"
LABELS = ("体育", "财经", "房产")


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "dev", "test"):
        rows = [{"text": f"{split}{label}第{n}篇" * 40, "label": label} for label in LABELS for n in range(4)]
        with gzip.open(tmp_path / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return tmp_path


def run(script, *words):
    subprocess.run([sys.executable, str(SCRIPTS / script), *map(str, words)], check=True)


def test_misleading_leads(folder):
    for name, seed in (("a", 42), ("b", 42), ("c", 7)):
        run("misleading_leads.py", folder, "--output_dir", folder / name, "--seed", seed, "--lead", 50, "--body", 700)
    texts = {name: (folder / name / "test.jsonl").read_text(encoding="utf-8") for name in "abc"}
    assert texts["a"] == texts["b"] != texts["c"]
    for split in ("train", "validation", "test"):
        rows = pd.read_json(folder / "a" / f"{split}.jsonl", lines=True)
        assert rows["label"].value_counts().to_dict() == dict.fromkeys(LABELS, 4)
        assert (rows["lead"] != rows["label"]).all()
        for text, label, lead in zip(rows["text"], rows["label"], rows["lead"], strict=True):
            opening, _, body = text.partition("\n")
            assert len(opening) == 50
            assert len(body) >= 700
            assert lead in opening
            # Made of its own split's rows alone, and below the lead of one topic alone.
            assert all(other not in text for other in {"train", "validation", "test"} - {split})
            assert all(other not in body for other in LABELS if other != label)


def test_only_articles_that_are_long_enough_lead(folder):
    """A shorter lead would show the body behind it to whoever reads the beginning alone."""
    command = [sys.executable, str(SCRIPTS / "misleading_leads.py"), str(folder), "--output_dir", str(folder / "a")]
    done = subprocess.run([*command, "--lead", "5000"], capture_output=True, text=True)
    assert done.returncode == 2
    message = "error: Expected articles of 5000 characters in two topics, found those of 0. Give a smaller --lead."
    assert done.stderr.splitlines()[-1] == message
    assert not (folder / "a").exists()


def test_six_topics(folder):
    sogou = folder / "sogou.jsonl"
    rows = [{"text": f"健康文章{n}", "label": "健康"} for n in range(60)] + [{"text": "军事", "label": "军事"}]
    sogou.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    run("six_topics.py", folder, sogou, "--output_dir", folder / "six")
    made = {
        split: pd.read_json(folder / "six" / f"{split}.jsonl", lines=True) for split in ("train", "validation", "test")
    }
    assert sum((frame["label"] == "health").sum() for frame in made.values()) == 60
    assert all((frame["label"] == "health").any() for frame in made.values())
    assert set(made["train"]["label"]) == {"sport", "finance", "health"}


@pytest.mark.parametrize("backend", ["torch", "int8"])
def test_a_document_costs_what_its_chunks_do(backend, folder, model_folder):
    if backend == "int8":
        pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra")
    words = [folder / "train.jsonl.gz", "--encoder", model_folder, "--max_length", 32, "--stride", 8]
    words += ["--lengths", 100, 1000, "--total", 2000, "--rounds", 1, "--threads", 1, "--backend", backend]
    run("linear_cost.py", *words, "--output_dir", folder / "cost")
    figures = json.loads((folder / "cost" / "cost.json").read_text(encoding="utf-8"))
    assert [row["documents"] for row in figures.values()] == [12, 20, 2]
    short, long = figures["100 characters"], figures["1,000 characters"]
    assert (long["longest"], long["measured"], long["expected"]) == (1000, 1, 1)
    # Short documents have more last chunks, which are not full.
    assert short["tokens_per_chunk"] < long["tokens_per_chunk"] <= 32
    assert short["expected"] == short["tokens_per_chunk"] / long["tokens_per_chunk"]
    assert all(row["ms_per_chunk"] > 0 and row["peak_mb"] > 100 for row in figures.values())
    table = (folder / "cost" / "table.md").read_text(encoding="utf-8")
    assert len(table.splitlines()) == 5
