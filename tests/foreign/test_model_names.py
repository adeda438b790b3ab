"""A name with no model behind it: refused at once, with the model that may be meant."""

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from hub_server.server import serve
from hub_server.store import Hub

from sentiment_hf.cli.main import main
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.utils.exceptions import InputError

# Python that asks for models by name, in a process with the environment of its own; prints seconds and the error.
ASK = """
import sys, time
from sentiment_hf.inference.predictor import SentimentClassifier
import sentiment_hf.modeling.classifier
for name in sys.argv[1:]:
    started = time.perf_counter()
    try:
        SentimentClassifier.from_pretrained(name)
    except Exception as error:
        print(f"{time.perf_counter() - started:.3f}|{type(error).__name__}|{error}")
"""


@pytest.fixture
def home(model_folder, tmp_path, monkeypatch):
    """A folder to work in, with one model in `runs/reviews` and a folder without one."""
    place = tmp_path / "home"
    (place / "runs" / "empty").mkdir(parents=True)
    shutil.copytree(model_folder, place / "runs" / "reviews")
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("runs/review", "Is runs/reviews meant"),
        ("runs/reviws/", "Is runs/reviews meant"),
        ("./runs/revews", "Is runs/reviews meant"),
        ("run/reviews", "Is runs/reviews meant"),
        ("runs/quite_another", "There: runs/reviews."),
        ("starter-review", "Is starter-reviews meant"),
        ("startr", "Is starter meant"),
        ("/nowhere/at/all", "starter-reviews, a classifier"),
        ("nobody/nothing", "starter-reviews, a classifier"),
        ("", "starter-reviews, a classifier"),
    ],
)
def test_the_nearest_model_is_named(home, name, meant):
    started = time.perf_counter()
    with pytest.raises(InputError) as error:
        SentimentClassifier.from_pretrained(name)
    assert time.perf_counter() - started < 1
    assert meant in str(error.value)
    assert "With the package come starter-reviews" in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--model", "runs/review", "房间很好"],
        ["evaluate", "--model", "runs/review", "--data", "DATA"],
        ["train", "--model", "runs/review", "--train_file", "DATA", "--output_dir", "out", "--quantize", "none"],
        ["train", "--model", "runs/review", "--train_file", "DATA", "--output_dir", "out", "--quantize", "dynamic"],
        ["compress", "export", "--model", "runs/review"],
    ],
    ids=lambda words: " ".join(words[::5]),
)
def test_verbs_say_it_in_a_sentence(home, train_file, capsys, words):
    if words[-1] == "dynamic":
        pytest.importorskip("optimum.exporters.onnx", reason="needs the onnx extra")
    assert main([str(train_file) if word == "DATA" else word for word in words]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert "Is runs/reviews meant?" in error[0]
    assert not (home / "out").exists()


def ask(names, endpoint, home, tmp_path):
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache")}
    settings |= {"NO_PROXY": "127.0.0.1,localhost", "HF_TOKEN": ""}
    command = [sys.executable, "-c", ASK, *names]
    done = subprocess.run(command, env={**os.environ, **settings}, cwd=home, capture_output=True, text=True, check=True)
    return [line.split("|") for line in done.stdout.splitlines()]


def test_a_hub_out_of_reach_is_asked_once_and_not_waited_for(home, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It takes connections and never responds.
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        asked = ask(["nobody/nothing", "runs/review"], endpoint, home, tmp_path)
    for seconds, kind, _ in asked:
        assert float(seconds) < 2
        assert kind == "InputError"
    assert "no access to the Hub" in asked[0][2]
    assert "Is runs/reviews meant?" in asked[1][2]


def test_a_path_is_not_asked_for_and_an_unknown_id_once(home, tmp_path):
    hub = Hub()
    with serve(hub) as endpoint:
        (_, kind, path), (_, other, unknown) = ask(["runs/review", "nobody/nothing"], endpoint, home, tmp_path)
    assert (kind, other) == ("InputError", "InputError")
    assert "Is runs/reviews meant?" in path
    assert "no such repository on the Hub" in unknown
    assert not [request for request in hub.requests if "runs/review" in request]
