"""The tutorials do what they say: every block of each page runs, in an empty folder, with a Hub on loopback."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server.server import serve
from hub_server.store import Account, Hub

ROOT = Path(__file__).parents[2]
PAGES = ["reviews", "emotion", "topics", "aspects"]
NEEDED = ("onnxruntime", "optimum", "snownlp", "captum", "matplotlib")
# A walk is seconds of work; a machine with much else to do may take minutes.
TIMEOUT = 1500

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in NEEDED), reason=f"a tutorial needs {', '.join(NEEDED)}"
)


@pytest.fixture
def follow(tmp_path):
    """Run a page; returns its folder, what its blocks printed, and what the Hub got."""

    def follow(name: str):
        hub = Hub(accounts={"hf_write": Account("alice")})
        folder = tmp_path / "reader"
        folder.mkdir()
        with serve(hub) as endpoint:
            settings = {
                "HF_ENDPOINT": endpoint,
                "HF_HUB_OFFLINE": "0",
                "HF_HOME": str(tmp_path / "hub"),
                "HF_TOKEN": "",
            }
            settings |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1,localhost"}
            settings |= {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
            command = [sys.executable, str(Path(__file__).with_name("follow.py"))]
            done = subprocess.run(
                [*command, str(ROOT / f"docs/tutorials/{name}.md")],
                cwd=folder,
                env=os.environ | settings,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        assert done.returncode == 0, done.stderr[-3000:]
        followed = json.loads((folder / "followed.json").read_text(encoding="utf-8"))
        return folder, [block["printed"] for block in followed], hub

    return follow


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def check_run(run: Path, hub: Hub, name: str) -> None:
    """A whole run with INT8 files for this machine and for any, and the same on the Hub."""
    written = {path.name for path in (run / "onnx").iterdir()}
    assert {"model.onnx", "model_quint8_avx2.onnx"} <= written
    assert {"model.safetensors", "metrics.json", "audit.json", "recipe.yaml"} <= {path.name for path in run.iterdir()}
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8")).keys() >= {"baseline", "fp32", "int8"}
    repository = hub.repositories["model", f"alice/{name}"]
    pushed = set(repository.commits[repository.resolve("main")])
    assert {"README.md", "model.safetensors", "onnx/model.onnx", "onnx/model_quint8_avx2.onnx"} <= pushed


def test_reviews(follow):
    folder, printed, hub = follow("reviews")
    assert len(rows(folder / "reviews.csv")) == 600
    assert len(rows(folder / "predictions.csv")) == 600
    assert {row["predicted_label"] for row in rows(folder / "predictions.csv")} <= {"negative", "positive"}
    assert (folder / "why.html").read_text(encoding="utf-8").lower().startswith("<!doctype html")
    assert (folder / "runs/reviews/errors/errors.md").is_file()
    check_run(folder / "runs/reviews", hub, "reviews")
    last = printed[-1].splitlines()
    assert [line.split()[0] in ("negative", "positive") for line in last] == [True, True]


def test_emotion(follow):
    folder, printed, hub = follow("emotion")
    assert len({row["label"] for row in rows(folder / "posts.csv")}) == 6
    check_run(folder / "runs/balanced", hub, "emotion")
    label, top = printed[-1].split(maxsplit=1)
    # None where the threshold was not reached.
    assert label in ("neutral", "angry", "happy", "sad", "fear", "surprise", "None")
    assert top.count("'") == 6


def test_topics(follow):
    folder, printed, hub = follow("topics")
    check_run(folder / "runs/topics", hub, "topics")
    predictions = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(predictions) == 150
    label, num_chunks = printed[-1].split()[:2]
    assert label in ("体育", "财经", "科技")
    assert int(num_chunks) > 1


def test_aspects(follow):
    folder, printed, hub = follow("aspects")
    check_run(folder / "runs/aspects", hub, "aspects")
    assert len(rows(folder / "predictions.csv")) == 240
    assert any("label wait: positive" in text for text in printed)
    assert all(name in printed[-1] for name in ("taste", "wait", "price"))


def test_every_tutorial_is_followed_and_named_in_the_readme():
    assert {path.stem for path in (ROOT / "docs/tutorials").glob("*.md")} == set(PAGES)
    for page in PAGES:
        for readme in ("README.md", "README.zh.md"):
            assert f"docs/tutorials/{page}.md" in (ROOT / readme).read_text(encoding="utf-8")
