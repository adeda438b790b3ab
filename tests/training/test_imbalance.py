"""Focal loss, logit adjustment and samplers, from the recipe to the saved weights."""

import json

import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.run import make_trainer, train
from sentiment_hf.utils.exceptions import InputError


@pytest.fixture
def imbalanced(reviews, tmp_path, tiny_arguments):
    """Arguments of a tiny run on rows of which one in seven is positive."""
    negative, positive = reviews[reviews["label"] == "negative"], reviews[reviews["label"] == "positive"].head(36)
    path = tmp_path / "imbalanced.csv"
    pd.concat([negative, positive]).to_csv(path, index=False)
    return [*tiny_arguments, f"--train_file={path}", "--baseline=false", "--save_strategy=no", "--eval_strategy=no",
            "--load_best_model_at_end=false"]  # fmt: skip


def test_weights_and_priors_are_those_that_the_recipe_asks_for(imbalanced):
    rows, task = pd.DataFrame({"label": [0] * 9 + [1]}), BUILT_IN_TASKS["reviews"]
    words = ["--class_weights=effective_number", "--effective_number_beta=0.9"]
    found = task.corrections(parse_run_arguments([*imbalanced, *words]).training, rows["label"].tolist())
    raw = torch.tensor([1 / (1 - 0.9**9), 1 / (1 - 0.9)])
    torch.testing.assert_close(found["class_weight"], raw / (0.9 * raw[0] + 0.1 * raw[1]))
    assert found["log_prior"] is None
    found = task.corrections(
        parse_run_arguments([*imbalanced, "--logit_adjustment=2"]).training, rows["label"].tolist()
    )
    torch.testing.assert_close(found["log_prior"], torch.tensor([0.9, 0.1]).log())
    assert found["class_weight"] is None


def finish(words, *extra):
    return train(parse_run_arguments([*words, *extra]))


def test_adjustment_at_prediction_is_in_the_saved_bias(imbalanced, tmp_path):
    plain = finish(imbalanced, f"--output_dir={tmp_path / 'plain'}")
    shifted = finish(
        imbalanced, f"--output_dir={tmp_path / 'shifted'}", "--logit_adjustment=1.5", "--logit_adjustment_at=prediction"
    )
    counts = plain.data.splits["train"]["label"].value_counts().sort_index()
    prior = torch.tensor((counts / counts.sum()).to_numpy()).log().float()
    models = [AutoModelForSequenceClassification.from_pretrained(run.folder) for run in (plain, shifted)]
    torch.testing.assert_close(models[1].classifier.bias, models[0].classifier.bias - 1.5 * prior)
    torch.testing.assert_close(models[1].classifier.weight, models[0].classifier.weight, rtol=0, atol=0)
    batch = AutoTokenizer.from_pretrained(shifted.folder)("房间非常好", return_tensors="pt")
    with torch.no_grad():
        difference = models[1](**batch).logits - models[0](**batch).logits
    torch.testing.assert_close(difference, -1.5 * prior.unsqueeze(0))


@pytest.mark.parametrize(
    "option", ["--focal_gamma=2", "--logit_adjustment=1", "--class_weights=effective_number", "--sampler=weighted",
               "--sampler=downsample"]
)  # fmt: skip
def test_every_option_changes_what_is_learned_also_with_rdrop(imbalanced, tmp_path, option):
    words = [*imbalanced, "--rdrop_alpha=1", "--max_steps=3", "--effective_number_beta=0.99"]
    plain = finish(words, f"--output_dir={tmp_path / 'plain'}")
    other = finish(words, f"--output_dir={tmp_path / 'other'}", option)
    weights = [
        AutoModelForSequenceClassification.from_pretrained(run.folder).classifier.weight for run in (plain, other)
    ]
    assert not torch.allclose(*weights)


class Stop(Exception):
    """Before the first step."""


@pytest.mark.parametrize("option", ["--class_weights=balanced", "--logit_adjustment=1"])
def test_corrections_are_of_the_rows_that_are_learned_from(reviews, tmp_path, tiny_arguments, monkeypatch, option):
    """Of the sample, not of all training rows, and of no other split; the shares of the classes differ in each."""
    negative, positive = (reviews[reviews["label"] == name].reset_index(drop=True) for name in ("negative", "positive"))
    parts = {"train": (150, 30), "validation": (20, 40), "test": (10, 70)}
    words, places = [], [0, 0]
    for split, counts in parts.items():
        taken = [
            rows[place : place + count] for rows, place, count in zip((negative, positive), places, counts, strict=True)
        ]
        places = [place + count for place, count in zip(places, counts, strict=True)]
        pd.concat(taken).to_csv(tmp_path / f"{split}.csv", index=False)
        words.append(f"--{split}_file={tmp_path / split}.csv")
    made = []

    def stopped(*args):
        made.append(make_trainer(*args))
        raise Stop

    monkeypatch.setattr("sentiment_hf.training.run.make_trainer", stopped)
    with pytest.raises(Stop):
        finish([*tiny_arguments, *words], "--max_train_rows=61", option)
    trainer = made[0]
    counts = torch.bincount(torch.tensor(trainer.train_dataset["labels"])).double()
    assert counts.sum() == 61
    assert counts[1] / 61 != pytest.approx(30 / 180, abs=1e-3), "or the sample could not be told from all rows"
    if "weights" in option:
        torch.testing.assert_close(trainer.row_loss.weight.double(), 61 / 2 / counts, rtol=1e-5, atol=0)
    else:
        torch.testing.assert_close(trainer.row_loss.adjustment.double(), (counts / 61).log(), rtol=1e-5, atol=0)
    assert torch.bincount(torch.tensor(trainer.eval_dataset["labels"])).tolist() == [20, 40]


def test_downsampled_epochs_are_as_short_as_their_rows(imbalanced, tmp_path):
    finished = finish(imbalanced, "--sampler=downsample", "--per_device_train_batch_size=8", "--logging_steps=1")
    history = json.loads((finished.folder / "run.json").read_text(encoding="utf-8"))["history"]
    rarest = finished.data.splits["train"]["label"].value_counts().min()
    assert sum("loss" in line for line in history) == -(-2 * rarest // 8)


def test_rdrop_without_dropout_is_refused(tiny_arguments, tmp_path):
    words = [word for word in tiny_arguments if not word.startswith("--config_overrides")]
    overrides = "hidden_dropout_prob: 0, attention_probs_dropout_prob: 0, hidden_size: 32, num_attention_heads: 2"
    with pytest.raises(InputError, match="dropout for R-Drop, whose two forwards differ in nothing else, found none"):
        finish(words, f"--config_overrides={{{overrides}}}", "--rdrop_alpha=1")
    assert not (tmp_path / "run").exists()


def test_adjustment_needs_rows_of_every_class(imbalanced, tmp_path):
    with pytest.raises(InputError, match="training rows of every class for logit adjustment, found none for mixed"):
        finish(imbalanced, "--labels=[negative, positive, mixed]", "--task=mine", "--logit_adjustment=1")
    assert not (tmp_path / "run").exists()
