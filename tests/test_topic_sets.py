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
    for split in ("train", "dev", "test"):
        rows = pd.read_json(folder / "a" / f"{split}.jsonl", lines=True)
        assert rows["label"].value_counts().to_dict() == dict.fromkeys(LABELS, 4)
        assert (rows["lead"] != rows["label"]).all()
        for text, label, lead in zip(rows["text"], rows["label"], rows["lead"], strict=True):
            opening, _, body = text.partition("\n")
            assert len(opening) == 50
            assert len(body) >= 700
            assert lead in opening
            # Made of its own split's rows alone, and below the lead of one topic alone.
            assert all(other not in text for other in {"train", "dev", "test"} - {split})
            assert all(other not in body for other in LABELS if other != label)


def test_six_topics(folder):
    sogou = folder / "sogou.jsonl"
    rows = [{"text": f"健康文章{n}", "label": "健康"} for n in range(60)] + [{"text": "军事", "label": "军事"}]
    sogou.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    run("six_topics.py", folder, sogou, "--output_dir", folder / "six")
    made = {split: pd.read_json(folder / "six" / f"{split}.jsonl", lines=True) for split in ("train", "dev", "test")}
    assert sum((frame["label"] == "health").sum() for frame in made.values()) == 60
    assert all((frame["label"] == "health").any() for frame in made.values())
    assert set(made["train"]["label"]) == {"sport", "finance", "health"}
