"""Every verb's help is there at once: it imports nothing heavy, and takes little of the processor's time."""

import argparse
import re
import resource
import subprocess
import sys

import pytest

from sentiment_hf.cli import _build_parser, main

HEAVY = {"torch", "transformers", "datasets", "accelerate", "pandas", "pyarrow", "scipy", "sklearn", "onnxruntime"}
HEAVY |= {"gradio", "fastapi", "huggingface_hub", "matplotlib", "optuna", "cleanlab", "captum", "evaluate", "rich"}
SUBPARSERS = next(action for action in _build_parser()._actions if isinstance(action, argparse._SubParsersAction))
VERBS = list(SUBPARSERS.choices)
# A fifth of a second is measured (2 cores, AVX-512), half a second promised; a slow and busy machine may take longer.
SECONDS = 2.0


def processor_seconds() -> float:
    """What the children that have ended took, user and system together; a busy machine leaves it next to unchanged."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)], ids=" ".join)
def test_help_is_instant(words):
    before = processor_seconds()
    command = [sys.executable, "-X", "importtime", "-m", "sentiment_hf.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    imported = {module.split(".")[0] for module in re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE)}
    assert "sentiment_hf" in imported
    assert not imported & HEAVY
    assert processor_seconds() - before < SECONDS


def test_help_tells_what_there_is(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert all(re.search(rf"^    {verb}\b", told, re.MULTILINE) for verb in VERBS)
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    assert "--rdrop_alpha" in told
    # The file alone is enough, and help says what is chosen then.
    assert re.search(r"^  FILE +labelled rows; the same as --train_file$", told, re.MULTILINE)
    assert "Without a recipe the model is starter" in " ".join(told.split())


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian", "mine.csv"], "'trian'; did you mean train? See: sentiment-hf --help"),
        (["predict", "--bakend=onnx", "很好"], "--bakend=onnx; did you mean --backend? See"),
        (
            ["predict", "--backend", "onx", "很好"],
            "'openvino_int8'); did you mean onnx? See: sentiment-hf predict --help",
        ),
        (["predict", "--provider", "gpu", "很好"], "'cuda', 'tensorrt'); did you mean cpu?"),
        (["predict", "--model太差了"], "a text that begins with - stands after --"),
        (["demo", "foo", "--prot=1"], "foo --prot=1; did you mean --port?"),
        (["export", "--model", "x", "--targte", "avx2"], "did you mean --target?"),
        (["evaluate", "--modle", "x", "--data", "y"], "are required: --model; did you mean --model?"),
        (["--foo", "train", "x.csv"], "unrecognized arguments: --foo"),
        (["predict", "-很好"], "unrecognized arguments: -很好; a text that begins with - stands after --"),
        (["nothing"], "invalid choice: 'nothing' (choose from"),
    ],
)
def test_what_is_misspelled_is_told_with_what_was_meant(words, meant, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert meant in capsys.readouterr().err


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "sentiment_hf", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("sentiment_hf ")
