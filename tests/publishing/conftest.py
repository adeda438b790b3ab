"""A Hub on loopback, a process with the real client, and a finished run to push."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hub_server.server import serve
from hub_server.store import Account, Hub

HAS_ONNX = all(importlib.util.find_spec(name) for name in ("optimum", "onnxruntime"))
ACCOUNTS = {
    "hf_write": Account("alice"),
    "hf_read": Account("alice", "read", "for reading"),
    "hf_bob": Account("bob", token_name="bob's laptop"),
}


@dataclass
class CommandResult:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one sentence of a refusal."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert (self.status, len(lines)) == (2, 1), self.err
        return lines[0]


@pytest.fixture(scope="session")
def running_hub() -> Iterator[tuple[Hub, str]]:
    hub = Hub(accounts=ACCOUNTS)
    with serve(hub) as endpoint:
        yield hub, endpoint


@pytest.fixture
def hub(running_hub: tuple[Hub, str]) -> Hub:
    """The server's state, empty at the start of each test."""
    running_hub[0].clear()
    return running_hub[0]


@pytest.fixture(scope="session")
def hub_environment(running_hub: tuple[Hub, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables of a process that reaches the server, with an empty cache."""
    settings = {
        "HF_ENDPOINT": running_hub[1],
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path_factory.mktemp("hub-cache")),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    return {**os.environ, **settings, "HF_TOKEN": ""}


@pytest.fixture(scope="session")
def client(hub_environment: dict[str, str]) -> Iterator[Callable[..., CommandResult]]:
    """`sentiment-hf` with some words, in a process that reaches the server."""
    command = [sys.executable, str(Path(__file__).with_name("client.py"))]
    with subprocess.Popen(
        command, env=hub_environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(*words: Any, token: str = "hf_write") -> CommandResult:
            process.stdin.write(json.dumps({"words": [str(word) for word in words], "token": token}) + "\n")
            process.stdin.flush()
            return CommandResult(**json.loads(process.stdout.readline()))

        yield run
        process.stdin.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, reviews: pd.DataFrame) -> Path:
    """A run of two steps; with ONNX and INT8 where Optimum is installed. Copy it before changing it."""
    from sentiment_hf.cli.main import main

    folder = tmp_path_factory.mktemp("trained")
    reviews.to_csv(folder / "reviews.csv", index=False)
    shape = "hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, vocab_size: 400"
    words = [
        "train",
        f"--train_file={folder / 'reviews.csv'}",
        f"--output_dir={folder / 'run'}",
        f"--cache_dir={folder / 'cache'}",
        "--task=reviews",
        "--model=scratch",
        # Large weights make predictions that differ from text to text.
        f"--config_overrides={{{shape}, max_position_embeddings: 64, initializer_range: 0.3}}",
        "--num_hidden_layers=2",
        "--max_length=32",
        "--max_steps=2",
        "--save_strategy=steps",
        "--eval_strategy=steps",
        "--eval_steps=2",
        "--save_steps=2",
        "--precision=fp32",
        "--disable_tqdm=true",
        "--license=apache-2.0",
    ]
    if HAS_ONNX:
        # After two steps a gate has little to judge by.
        words += ["--quantize=dynamic", "--arch=avx2", "--max_drop=100"]
    assert main(words) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def has_onnx() -> bool:
    """Whether the run has ONNX files, since Optimum is installed."""
    return HAS_ONNX


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(trained, tmp_path / "run"))
