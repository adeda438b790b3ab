"""Every verb's help is there at once: it imports nothing heavy, and takes little of the processor's time."""

import re
import resource
import subprocess
import sys
from dataclasses import fields

import pytest

from sentiment_hf.cli.main import ALL_VERBS, main
from sentiment_hf.cli.train import COMMON_KEYS
from sentiment_hf.config.training_options import FINE_TUNING_PARTS

HEAVY = {"torch", "transformers", "datasets", "accelerate", "pandas", "pyarrow", "scipy", "sklearn", "onnxruntime"}
HEAVY |= {"gradio", "fastapi", "huggingface_hub", "matplotlib", "optuna", "cleanlab", "captum", "evaluate", "rich"}
VERBS = [verb.split() for verb in ALL_VERBS]
# A fifth of a second is measured (2 cores, AVX-512), half a second promised; a slow and busy machine may take longer.
SECONDS = 2.0


def processor_seconds() -> float:
    """What the children that have ended took, user and system together; a busy machine leaves it next to unchanged."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["train", "--help-all"], *([*verb, "--help"] for verb in VERBS)], ids=" ".join
)
def test_help_is_instant(words):
    before = processor_seconds()
    command = [sys.executable, "-X", "importtime", "-m", "sentiment_hf", *words]
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
    assert all(re.search(rf"^  {verb} ", told, re.MULTILINE) for verb in ALL_VERBS)
    # One screen.
    assert len(told.splitlines()) <= 42
    assert max(map(len, told.splitlines())) <= 88
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    assert set(re.findall(r"^  --(\w+) ", told, re.MULTILINE)) - {"config", "help_all"} == set(COMMON_KEYS)
    # The file alone is enough, and help says what is chosen then.
    assert re.search(r"^  FILE +labelled rows; the same as --train_file$", told, re.MULTILINE)
    assert "Without a recipe the model is starter" in " ".join(told.split())
    with pytest.raises(SystemExit):
        main(["train", "--help-all"])
    told = capsys.readouterr().out
    keys = {item.name for part in FINE_TUNING_PARTS for item in fields(part)}
    assert set(re.findall(r"^  --(\w+) ", told, re.MULTILINE)) - {"config", "help_all"} == keys
    # What the short help hides is explained as well.
    (decay,) = (item for part in FINE_TUNING_PARTS for item in fields(part) if item.name == "layerwise_lr_decay")
    assert decay.metadata["help"].split(";")[0] in " ".join(told.split())


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
        (
            ["compress", "export", "--model", "x", "--targte", "avx2"],
            "did you mean --target? See: sentiment-hf compress",
        ),
        (["export", "--model", "x"], "'export'; did you mean compress export? See: sentiment-hf --help"),
        (["compress", "exprot"], "'exprot'; did you mean export? See: sentiment-hf compress --help"),
        (["compress", "export", "--modle", "x"], "are required: --model; did you mean --model?"),
        (["evaluate", "--modle", "x", "--data", "y"], "did you mean --model? See: sentiment-hf evaluate --help"),
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


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_completes_verbs_and_options(shell, capsys):
    with pytest.raises(SystemExit) as stop:
        main([f"--print-completion={shell}"])
    assert stop.value.code == 0
    script = capsys.readouterr().out
    for word in ("compress", "export", "--max_drop", "rdrop_alpha"):
        assert word in script


def test_bash_completes_what_is_begun(tmp_path):
    script = tmp_path / "completion.bash"
    with script.open("w") as file:
        subprocess.run([sys.executable, "-m", "sentiment_hf", "--print_completion=bash"], stdout=file, check=True)
    ask = f"source {script}; COMP_WORDS=(sentiment-hf compress ex); COMP_CWORD=2; "
    ask += "_shtab_sentiment_hf sentiment-hf ex compress"
    done = subprocess.run(["bash", "-c", f'{ask}; echo "${{COMPREPLY[@]}}"'], capture_output=True, text=True)
    assert done.stdout.split() == ["export"], done.stderr
