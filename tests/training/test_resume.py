"""A run that is killed in the middle and resumed is the run that was never stopped."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from sentiment_hf.training.folder import newest_checkpoint
from sentiment_hf.utils.exceptions import InputError

# 346 training rows in batches of 16: 22 steps an epoch, a checkpoint every 5.
OPTIONS = [
    "--num_train_epochs=3",
    "--per_device_train_batch_size=16",
    "--rdrop_alpha=1.0",
    "--class_weights=balanced",
    "--length_grouping=true",
    "--eval_strategy=steps",
    "--eval_steps=5",
    "--save_strategy=steps",
    "--save_steps=5",
    "--save_total_limit=20",
    "--logging_steps=5",
    "--baseline=false",
]
# In the second epoch (steps 23 to 44), between two checkpoints of it.
KILLED_AFTER = 30


def command(arguments, folder, *more):
    words = [word for word in arguments if not word.startswith("--output_dir")]
    return [sys.executable, "-m", "sentiment_hf.training.run", *words, *OPTIONS, f"--output_dir={folder}", *more]


def test_killed_in_the_second_epoch_and_resumed(tiny_arguments, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(tiny_arguments, whole), check=True, capture_output=True)

    process = subprocess.Popen(command(tiny_arguments, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    marker = killed / f"checkpoint-{KILLED_AFTER}" / "trainer_state.json"
    deadline = time.monotonic() + 120
    while not marker.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    checkpoint = newest_checkpoint(killed, "true")
    step = int(checkpoint.rpartition("-")[2])
    assert 22 < step < 44, "killed outside the second epoch: the test shows nothing"
    assert not (killed / "model.safetensors").exists()

    subprocess.run(command(tiny_arguments, killed, "--resume_from_checkpoint=true"), check=True, capture_output=True)
    # It went on from the checkpoint, and did not simply start again.
    history = json.loads((killed / "run.json").read_text(encoding="utf-8"))["history"]
    assert [entry["step"] for entry in history if "loss" in entry] == list(range(5, 67, 5))
    first, second = load_file(whole / "model.safetensors"), load_file(killed / "model.safetensors")
    assert first.keys() == second.keys()
    different = [name for name in first if not first[name].equal(second[name])]
    assert different == []
    # Not only the best checkpoint, also the last step.
    last = "checkpoint-66/model.safetensors"
    first, second = load_file(whole / last), load_file(killed / last)
    assert all(first[name].equal(second[name]) for name in first)


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    for step, state in ((5, "{}"), (10, '{"epoch": 1.'), (15, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state, encoding="utf-8")
    assert newest_checkpoint(tmp_path, "true") == str(tmp_path / "checkpoint-5")
    assert newest_checkpoint(tmp_path, None) is None
    assert newest_checkpoint(tmp_path / "empty", "true") is None
    with pytest.raises(InputError, match="an earlier one"):
        newest_checkpoint(tmp_path, str(tmp_path / "checkpoint-15"))
