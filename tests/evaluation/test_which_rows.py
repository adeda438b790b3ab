"""Which rows decide and which are reported: one job on splits whose labels agree with the words in different measure.

On validation the rows that are labelled against their words make accuracy prefer a model that always says `negative`,
while macro-F1 prefers one that has learned; on test most labels stand against their words, so that all is the other way
round. Whatever reads the wrong split, or the wrong score, gets another figure or another checkpoint.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")

from safetensors.torch import load_file

from sentiment_hf.cli.main import main
from sentiment_hf.evaluation.baseline import baseline_logits, fit_baseline
from sentiment_hf.evaluation.report import headline, read_predictions
from sentiment_hf.inference.calibration import calibration_report, threshold_for
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.tasks import BUILT_IN_TASKS, softmax
from tests.conftest import TINY_MODEL

TASK = BUILT_IN_TASKS["reviews"]
# Rows by what their words say and how they are labelled: bad/negative, bad/positive, good/negative, good/positive.
COUNTS = {"train": (100, 10, 5, 60), "validation": (56, 4, 12, 8), "test": (10, 36, 26, 9)}
LEARNED_FROM, MAX_DROP = 150, 3.0
LEARNS = [
    "--max_steps=60",
    "--learning_rate=5e-3",
    "--per_device_train_batch_size=16",
    f"--max_train_rows={LEARNED_FROM}",
]
LEARNS += ["--eval_strategy=steps", "--save_strategy=steps", "--eval_steps=20", "--save_steps=20", "--warmup_steps=5"]


class Finished(NamedTuple):
    """A finished job: its folder, and the rows that it was given."""

    folder: Path
    rows: dict[str, pd.DataFrame]

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "metrics.json").read_text(encoding="utf-8")))

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "run.json").read_text(encoding="utf-8")))

    def logits(self, system: str, split: str) -> np.ndarray:
        texts = self.rows[split]["text"].tolist()
        if system == "baseline":
            train = self.rows["train"]
            return baseline_logits(fit_baseline(train["text"], train["label"], TASK), texts, TASK)
        backend = "torch" if system == "fp32" else system
        return SentimentClassifier.from_pretrained(self.folder, backend).scorer.logits(texts)

    def scores(self, system: str, split: str) -> dict[str, Any]:
        return TASK.scores(self.logits(system, split), self.rows[split]["label"])


@pytest.fixture(scope="module")
def finished(reviews: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    home = tmp_path_factory.mktemp("rows")
    words = {name: reviews[reviews["label"] == name]["text"].tolist() for name in TASK.labels}
    rows = {}
    for split, counts in COUNTS.items():
        kinds = [("negative", 0), ("negative", 1), ("positive", 0), ("positive", 1)]
        taken = [
            {"text": words[said].pop(), "label": label}
            for (said, label), count in zip(kinds, counts, strict=True)
            for _ in range(count)
        ]
        rows[split] = pd.DataFrame(taken).sample(frac=1, random_state=1).reset_index(drop=True)
        named = rows[split].assign(label=[TASK.labels[label] for label in rows[split]["label"]])
        named.to_json(home / f"{split}.jsonl", orient="records", lines=True, force_ascii=False)
    arguments = [f"--train_file={home}/train.jsonl", f"--validation_file={home}/validation.jsonl"]
    arguments += [f"--test_file={home}/test.jsonl", f"--output_dir={home}/run", f"--cache_dir={home}/cache"]
    arguments += ["--task=reviews", "--model=scratch", TINY_MODEL, "--num_hidden_layers=2", "--max_length=32"]
    arguments += ["--precision=fp32", "--disable_tqdm=true", "--quantize=static", f"--max_drop={MAX_DROP}", *LEARNS]
    assert main(["train", *arguments]) == 0
    return Finished(home / "run", rows)


@pytest.mark.parametrize("system", ["baseline", "fp32", "onnx", "static"])
def test_each_row_is_of_test_and_its_validation_block_of_validation(finished, system):
    metrics = finished.metrics
    row, on_test, on_validation = (
        metrics[system],
        finished.scores(system, "test"),
        finished.scores(system, "validation"),
    )
    assert metrics["split"] == "test"
    assert metrics["rows"] == {split: sum(counts) for split, counts in COUNTS.items()}
    assert all(on_test[name] != on_validation[name] for name in headline(on_test)), "or nothing could be told"
    assert headline(row) == pytest.approx(headline(on_test))
    assert (row["confusion_matrix"], row["rows"]) == (on_test["confusion_matrix"], sum(COUNTS["test"]))
    assert row["validation"] == pytest.approx(headline(on_validation))
    # The baseline costs nothing and gets all of them.
    assert row["train_rows"] == (sum(COUNTS["train"]) if system == "baseline" else LEARNED_FROM)


def test_the_checkpoint_that_is_kept_has_the_best_macro_f1_on_validation(finished):
    record = finished.record
    seen = [line for line in record["history"] if "eval_macro_f1" in line]
    best = max(seen, key=lambda line: line["eval_macro_f1"])
    assert len(seen) == 3
    assert best is not max(seen, key=lambda line: line["eval_accuracy"]), "or the two scores could not be told apart"
    assert best is not seen[-1]
    checkpoint = finished.folder / f"checkpoint-{best['step']}"
    assert Path(record["best_checkpoint"]) == checkpoint
    kept, saved = load_file(checkpoint / "model.safetensors"), load_file(finished.folder / "model.safetensors")
    assert all(saved[name].equal(tensor) for name, tensor in kept.items())
    assert (
        record["best_metric"]
        == best["eval_macro_f1"]
        == pytest.approx(finished.scores("fp32", "validation")["macro_f1"])
    )


def test_predictions_stand_in_the_order_of_the_saved_rows(finished):
    kept = read_predictions(finished.folder)
    assert kept is not None
    saved = pd.read_json(finished.folder / "splits/test.jsonl", lines=True)
    assert saved["text"].tolist() == finished.rows["test"]["text"].tolist()
    assert kept.labels.tolist() == finished.rows["test"]["label"].tolist()
    np.testing.assert_allclose(kept.logits, finished.logits("fp32", "test"), atol=1e-5)


def gate_is_of_validation(finished: Finished, gate: dict[str, Any]) -> None:
    assert (gate["metric"], gate["rows"], gate["max_drop"]) == ("macro_f1", sum(COUNTS["validation"]), MAX_DROP)
    assert gate["fp32"] == pytest.approx(100 * finished.scores("onnx", "validation")["macro_f1"])
    assert gate["int8"] == pytest.approx(100 * finished.scores("static", "validation")["macro_f1"])
    assert gate["texts"] == sum(COUNTS["train"]) + sum(COUNTS["validation"])


def test_the_gate_of_a_run_reads_validation(finished):
    gate_is_of_validation(finished, finished.metrics["static_gate"])


@pytest.fixture(scope="module")
def exported(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run with its training rows beside it, as where splits are made, exported once more by the verb."""
    folder = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(finished.folder, folder)
    shutil.copy(finished.folder.parent / "train.jsonl", folder / "splits")
    metrics = finished.metrics | {"static_refused": "by an earlier gate"}
    metrics["baseline"] = metrics["baseline"] | {"ms_per_review": 123.0}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert main(["compress", "export", "--model", str(folder), "--quantize=static", f"--max_drop={MAX_DROP}"]) == 0
    return Finished(folder, finished.rows)


def test_the_gate_of_an_export_reads_validation_and_takes_an_earlier_refusal_back(exported):
    gate_is_of_validation(exported, exported.metrics["static_gate"])
    assert "static_refused" not in exported.metrics


def test_an_export_writes_the_figures_of_the_run_again(finished, exported):
    before, after = finished.metrics, exported.metrics
    for system in ("onnx", "static"):
        for metrics in (before, after):
            del metrics[system]["ms_per_review"]
        assert after[system] == before[system]
    # Nobody fitted a baseline: its time stays what it was.
    assert after["baseline"]["ms_per_review"] == 123.0


def test_static_ranges_are_of_the_training_rows_in_both(finished, exported):
    """One file comes out of the rows of the recipe and of those that were saved; of others it would be another."""
    name = finished.metrics["static"]["file"]
    files = [(run.folder / "onnx" / name).read_bytes() for run in (finished, exported)]
    assert files[0] == files[1]


def test_calibrate_fits_on_validation_and_reports_test(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("checkpoint-*", "onnx"))
    assert main(["evaluate", "--calibrate", "--model", str(folder), "--backend=torch", "--precision=0.8"]) == 0
    report = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    temperature = report["temperature"]
    for part, split in (("fitted_on", "validation"), ("test", "test")):
        logits, labels = finished.logits("fp32", split), finished.rows[split]["label"].to_numpy()
        expected = calibration_report(logits, labels, temperature)
        assert report[part]["rows"] == len(labels)
        for when in ("before", "after"):
            assert report[part][when]["log_loss"] == pytest.approx(expected[when]["log_loss"], abs=1e-4)
    on_validation = softmax(finished.logits("fp32", "validation") / temperature)
    threshold, coverage = threshold_for(on_validation, finished.rows["validation"]["label"].to_numpy(), 0.8)
    assert (report["threshold"], report["coverage"]) == pytest.approx((threshold, coverage), abs=1e-4)
    on_test = softmax(finished.logits("fp32", "test") / temperature).max(axis=1)
    assert report["test"]["coverage"] == pytest.approx((on_test >= report["threshold"]).mean(), abs=0.03)
    assert report["test"]["precision"] < 0.5 < report["test"]["coverage"]
