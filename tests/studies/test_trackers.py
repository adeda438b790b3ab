"""What TensorBoard and W&B are told of a run, in its folder."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("tensorboard", reason="needs the trackers extra")
pytest.importorskip("wandb", reason="needs the trackers extra")

from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.utils.exceptions import InputError, MissingExtraError
from sentiment_hf.utils.files import read_json


def test_both_are_told_and_lie_in_the_folder_of_the_run(tmp_path, reviews):
    """As a user starts it, W&B without a network: it is set up once a process."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path
    reviews.to_csv(folder / "reviews.csv", index=False)
    shape = "{hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, vocab_size: 400}"
    words = ["--task=reviews", "--model=scratch", f"--config_overrides={shape}", "--num_hidden_layers=1"]
    words += ["--num_train_epochs=2", "--logging_steps=5", "--baseline=false", "--report_to=tensorboard,wandb"]
    words += [f"--train_file={folder / 'reviews.csv'}", f"--cache_dir={folder / 'cache'}", "--max_length=32"]
    command = [sys.executable, "-m", "sentiment_hf", "train", *words, f"--output_dir={folder / 'run'}"]
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(
        command, env=quiet | {"WANDB_MODE": "offline"}, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "wandb").exists(), "it lies in the run's folder, not where the command was called"
    assert list((folder / "run").glob("**/*.wandb"))
    events = EventAccumulator(str(next((folder / "run").glob("**/events.out.tfevents.*")).parent))
    events.Reload()
    history = read_json(folder / "run" / "run.json")["history"]
    for tag, name in (("train/loss", "loss"), ("eval/loss", "eval_loss"), ("eval/macro_f1", "eval_macro_f1")):
        own = {record["step"]: record[name] for record in history if name in record}
        assert len(own) >= 2
        assert {event.step: event.value for event in events.Scalars(tag)} == pytest.approx(own, rel=1e-5)


def test_names_of_trackers(tmp_path, monkeypatch):
    def told(value):
        words = ["--task=reviews", f"--output_dir={tmp_path / 'run'}", "--train_file=x.csv", f"--report_to={value}"]
        return parse_run_arguments(words)

    both = told("wandb, tensorboard")
    assert both.training.report_to == ["wandb", "tensorboard"]
    # What a run writes down can be read again.
    assert told(both.as_recipe()["report_to"]).training.report_to == both.training.report_to
    assert told("none").as_recipe()["report_to"] == "none"
    with pytest.raises(InputError, match="report_to: tensorboard, wandb, all or none, found 'papyrus'"):
        told("tensorboard,papyrus")
    monkeypatch.setattr("sentiment_hf.training.arguments.get_available_reporting_integrations", lambda: [])
    with pytest.raises(MissingExtraError, match=r"pip install 'sentiment_hf\[trackers\]'"):
        told("wandb")
