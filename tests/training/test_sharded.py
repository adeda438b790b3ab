"""A model that two processes share (FSDP) is saved whole, and is the one that a single process trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from sentiment_hf import SentimentClassifier

RECIPE = Path(__file__).parents[2] / "recipes/accelerate/fsdp.yaml"
SCRIPT = Path(__file__).parents[1] / "shard_on_cpu.py"


def test_two_processes_share_a_model(tiny_arguments, tmp_path, reviews):
    words = [*tiny_arguments, "--use_cpu=true", "--optim=sgd", "--learning_rate=0.05", "--length_grouping=false"]
    # With a last batch that does not divide one process would repeat rows.
    words += ["--max_grad_norm=0", "--baseline=false", "--logging_steps=1", "--max_train_rows=320"]
    # Every process draws its own.
    words += [word.replace("{", "{hidden_dropout_prob: 0, attention_probs_dropout_prob: 0, ") for word in words[5:6]]
    folders = []
    for processes in (1, 2):
        folder = tmp_path / f"run-{processes}"
        own = [f"--output_dir={folder}", f"--per_device_train_batch_size={16 // processes}"]
        launcher = ["-m", "sentiment_hf.training.run"]
        if processes > 1:
            own += ["--ddp_backend=gloo"]
            launcher = ["-m", "accelerate.commands.launch", f"--config_file={RECIPE}", "--num_processes=2"]
            launcher += [str(SCRIPT), "sentiment_hf.training.run"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *launcher, *words, *own], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr[-3000:]
        folders.append(folder)
    record = json.loads((folders[1] / "run.json").read_text(encoding="utf-8"))
    assert (record["distributed_type"], record["num_processes"]) == ("FSDP", 2)
    alone, shared = (load_file(folder / "model.safetensors") for folder in folders)
    assert alone.keys() == shared.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(shared[name], weight, rtol=0, atol=1e-6, msg=name)
    # And it is loaded as any other, under its own name.
    config = json.loads((folders[1] / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert SentimentClassifier.from_pretrained(folders[1])(reviews["text"][0]).label in ("negative", "positive")
