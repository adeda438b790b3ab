"""Pushes and downloads that are cut off, and what the next attempt makes of them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server.store import Fault, Hub

LARGE = 30_000_000


@pytest.fixture
def large_run(run_folder: Path) -> Path:
    """The run with 30 MB of random bytes as its weights."""
    (run_folder / "model.safetensors").write_bytes(os.urandom(LARGE))
    return run_folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def assert_holds(hub: Hub, run: Path) -> None:
    """The repository's files are the run's, by hash."""
    repository = hub.repositories["model", "alice/large"]
    files = repository.commits[repository.refs["main"]]
    same = ["model.safetensors", "config.json", "tokenizer.json"]
    same += [f"onnx/{path.name}" for path in run.glob("onnx/*.onnx")]
    assert {path: files[path].sha256 for path in same} == {path: sha256((run / path).read_bytes()) for path in same}


def uploads(hub: Hub) -> list[str]:
    return [request for request in hub.requests if request.startswith("PUT")]


def test_a_connection_cut_half_way_is_finished_by_the_next_push(hub, client, large_run):
    oid = sha256((large_run / "model.safetensors").read_bytes())
    # The client tries five times more, and waits for up to eight seconds in between.
    hub.faults.append(Fault(f"PUT /_lfs/{oid}", cut_at=0.5, times=-1))
    error = client("push", large_run, "alice/large").error
    assert "a connection to http://127.0.0.1:" in error
    assert "files that arrived whole are not sent again" in error
    repository = hub.repositories["model", "alice/large"]
    assert repository.commits[repository.refs["main"]].keys() == {".gitattributes"}
    assert oid not in hub.large_files
    arrived = set(hub.large_files)
    hub.faults.clear()
    hub.requests.clear()
    assert client("push", large_run, "alice/large").status == 0
    assert_holds(hub, large_run)
    assert set(uploads(hub)) == {f"PUT /_lfs/{other}" for other in hub.large_files.keys() - arrived}


def test_a_single_cut_is_mended_within_the_push(hub, client, large_run):
    oid = sha256((large_run / "model.safetensors").read_bytes())
    hub.faults.append(Fault(f"PUT /_lfs/{oid}", cut_at=0.5))
    assert client("push", large_run, "alice/large").status == 0
    assert_holds(hub, large_run)
    assert uploads(hub).count(f"PUT /_lfs/{oid}") == 2


def test_a_file_in_several_parts(hub, client, large_run):
    hub.multipart_from, hub.part_size = 20_000_000, 8_000_000
    try:
        assert client("push", large_run, "alice/large").status == 0
    finally:
        hub.multipart_from = Hub.multipart_from
    oid = sha256((large_run / "model.safetensors").read_bytes())
    assert {f"PUT /_lfs/{oid}/{number}" for number in range(1, 5)} <= set(uploads(hub))
    assert_holds(hub, large_run)


def test_a_download_cut_half_way_goes_on_where_it_stopped(hub, hub_environment, client, large_run, tmp_path):
    assert client("push", large_run, "alice/large").status == 0
    hub.faults.append(Fault("GET /_lfs/", cut_at=0.5))
    code = "from huggingface_hub import hf_hub_download; print(hf_hub_download('alice/large', 'model.safetensors'))"
    environment = hub_environment | {"HF_HOME": str(tmp_path / "cache")}
    # One of the client's majors goes on by itself, the other when it is asked again.
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert Path(done.stdout.strip()).read_bytes() == (large_run / "model.safetensors").read_bytes()
    downloads = [request for request in hub.requests if request.startswith("GET /_lfs/")]
    assert len(downloads) == 2
    assert re.search(r" bytes=[1-9]\d+-", downloads[1])
