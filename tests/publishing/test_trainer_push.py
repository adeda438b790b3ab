"""`SentimentTrainer.push_to_hub()`, as `Trainer` has it: what lands there loads with labels, settings and cleaning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from transformers import AutoTokenizer

from sentiment_hf import SentimentClassifier

SCRIPT = """
import sys
from datasets import Dataset
from sentiment_hf import SentimentTrainer, SentimentTrainingArguments

rows = Dataset.from_dict({"text": ["房间很好", "早餐很差", "前台很好", "屏幕很差"], "label": ["好评", "差评"] * 2})
args = SentimentTrainingArguments(
    sys.argv[2], max_steps=1, precision="fp32", disable_tqdm=True, hub_model_id="alice/by-hand", hub_token="hf_write"
)
trainer = SentimentTrainer(sys.argv[1], args, train_dataset=rows)
trainer.train()
trainer.push_to_hub()
"""


def test_what_a_trainer_pushes_loads_as_it_was_trained(hub, hub_environment, model_folder, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(model_folder), str(tmp_path / "run")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=hub_environment | {"PYTHONPATH": str(root)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    repository = hub.repositories["model", "alice/by-hand"]
    folder = tmp_path / "got"
    for path, file in repository.commits[repository.refs["main"]].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(file.content)
    classifier = SentimentClassifier.from_pretrained(folder)
    assert classifier.task.labels == ("好评", "差评")
    assert classifier.scorer.settings.max_length == 32
    # A stock tokenizer cleans as this package does.
    loud, plain = AutoTokenizer.from_pretrained(folder)(["房间　很好！！！！！！", "房间 很好！！！"])["input_ids"]
    assert loud == plain
