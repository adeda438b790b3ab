"""What a run writes down on its way, and what is left of it when it goes on from a checkpoint."""

import json

import numpy as np
import pandas as pd
import pytest

from sentiment_hf.evaluation.report import read_predictions
from sentiment_hf.tasks.metrics import classification_scores
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.run import train

OPTIONS = ["--logging_steps=5", "--num_train_epochs=2", "--baseline=false", "--learning_rate=3e-3"]


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def finished(tiny_arguments):
    return train(parse_run_arguments([*tiny_arguments, *OPTIONS]))


def test_every_figure_is_written_once_also_by_a_resumed_run(finished, tiny_arguments):
    folder = finished.folder
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert records(folder) == run["history"]
    assert {"loss", "step"} <= records(folder)[0].keys()
    table = pd.read_csv(folder / "metrics.csv")
    assert list(table.columns[:2]) == ["step", "epoch"]
    scores = table["eval_macro_f1"].dropna().tolist()
    assert scores == pytest.approx([record["eval_macro_f1"] for record in run["history"] if "eval_macro_f1" in record])
    assert len(scores) == 2
    hyperparameters = json.loads((folder / "hyperparameters.json").read_text(encoding="utf-8"))
    assert hyperparameters["learning_rate"] == 3e-3
    assert run["peak_memory_mb"]["cpu"] > 50

    # Cut off after the first epoch: what came later is measured anew.
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    words = [*tiny_arguments, *OPTIONS, f"--resume_from_checkpoint={checkpoints[0]}"]
    train(parse_run_arguments(words))
    again = records(folder)
    assert [record["step"] for record in again] == [record["step"] for record in run["history"]]


def test_predictions_on_the_held_out_rows_are_kept(finished):
    kept = read_predictions(finished.folder)
    test = finished.data.splits["test"]
    assert kept.labels.tolist() == test["label"].tolist()
    np.testing.assert_allclose(kept.logits, finished.scorer.logits(test["text"]), atol=1e-5)
    scores = classification_scores(kept.logits, kept.labels, finished.data.task.labels)
    assert scores["macro_f1"] == finished.metrics["fp32"]["macro_f1"]
    assert read_predictions(finished.folder / "splits") is None
