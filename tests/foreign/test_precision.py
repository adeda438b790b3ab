"""What a table calls FP32 was computed in FP32, whatever the training was computed in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sentiment_hf.cli.main import main
from sentiment_hf.evaluation.report import read_predictions
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.run import train


def in_precision(words: list[str], precision: str, *more: str) -> list[str]:
    return [*(word for word in words if not word.startswith("--precision")), f"--precision={precision}", *more]


@pytest.mark.parametrize("more", [(), ("--max_chunks_per_batch=2", "--truncation=sliding", "--max_length=12")])
def test_the_scores_of_a_bf16_run_are_those_of_the_saved_model(tiny_arguments, tmp_path: Path, more, capsys):
    words = [word for word in tiny_arguments if not (more and word.startswith("--max_length"))]
    words = in_precision(words, "bf16", "--max_steps=6", "--eval_strategy=no", "--save_strategy=no", *more)
    words += ["--load_best_model_at_end=false", "--baseline=false"]
    finished = train(parse_run_arguments(words))
    run = tmp_path / "run"
    kept = read_predictions(run)
    rows = finished.data.splits["test"]
    again = SentimentClassifier.from_pretrained(run, "torch").scorer.logits(rows["text"])
    assert kept is not None
    np.testing.assert_allclose(kept.logits, again, atol=1e-5)
    assert not np.array_equal(kept.logits, torch.tensor(kept.logits).bfloat16().float().numpy())
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["precision"] == "bf16"
    assert main(["evaluate", "--model", str(run), "--data", str(run / "splits/test.jsonl")]) == 0
    other = json.loads((run / "evaluation/test/metrics.json").read_text(encoding="utf-8"))["fp32"]
    for name in ("accuracy", "macro_f1", "confusion_matrix"):
        assert other[name] == finished.metrics["fp32"][name]


def test_runs_of_two_precisions_in_one_process_have_each_its_own(tiny_arguments, tmp_path: Path):
    parsed = {}
    for name in ("bf16", "fp32"):
        words = in_precision(
            tiny_arguments, name, "--max_steps=2", "--baseline=false", f"--output_dir={tmp_path / name}"
        )
        parsed[name] = parse_run_arguments(words)
    # Parsed before either is trained, and trained in another order.
    for name in ("fp32", "bf16"):
        train(parsed[name])
        assert json.loads((tmp_path / name / "run.json").read_text(encoding="utf-8"))["precision"] == name


def test_bf16_by_transformers_own_key_is_said(tiny_arguments, tmp_path: Path):
    words = [word for word in tiny_arguments if not word.startswith("--precision")]
    train(parse_run_arguments([*words, "--bf16=true", "--use_cpu=true", "--max_steps=2", "--baseline=false"]))
    assert "precision: bf16" in (tmp_path / "run/recipe.yaml").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))["precision"] == "bf16"
