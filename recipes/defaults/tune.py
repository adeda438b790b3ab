"""The trials behind the defaults: samples of labelled files, trained as `sentiment-hf train` does, scored on validation
rows.

    python recipes/defaults/tune.py --data_dir data --output_dir runs/defaults --sets chnsenticorp --rows 400 \
        --learning_rates 1e-4 2e-4 --epochs 8 16

A trial is what somebody with one file does: so many rows of a set (those that stand in its validation or test rows are
left out first) in a csv, from which the run takes its own validation and test rows. Models are compared on the set's
published validation rows, which no run has seen; `--test` adds the published test rows, for the settings that were
chosen. Any other key of a recipe may follow as `--key=value`. Finished trials are in `results.jsonl` and are not
repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.labelled import load_labelled, map_labels
from sentiment_hf.data.preparation import prepare_splits
from sentiment_hf.data.sources import load_splits
from sentiment_hf.evaluation.baseline import baseline_logits, fit_baseline
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.classifier import load_classifier
from sentiment_hf.modeling.forward import torch_forward
from sentiment_hf.modeling.loading import load_config
from sentiment_hf.tasks import resolve_task
from sentiment_hf.training.defaults import parse_command_line
from sentiment_hf.training.folder import SPLITS_FOLDER
from sentiment_hf.training.run import train
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.files import read_json, write_text

logger = logging.getLogger("sentiment_hf.tune")

SETS = {
    "chnsenticorp": ("chnsenticorp/train.tsv", "chnsenticorp/dev.tsv", "chnsenticorp/test.tsv"),
    "usual": ("ewect/usual/train.jsonl", "ewect/usual/dev.jsonl", "ewect/usual/test.jsonl"),
    "thucnews_long": tuple(f"thucnews_long/{split}.jsonl.gz" for split in ("train", "dev", "test")),
}


# What a set is compared by.
SCORE = {"chnsenticorp": "accuracy", "usual": "macro_f1", "thucnews_long": "macro_f1"}


def clean_splits(name: str, data_dir: Path) -> dict[str, pd.DataFrame]:
    """Load the splits of a set, labels as published; training rows that stand in the other splits are left out."""
    train_file, validation_file, test_file = SETS[name]
    splits = load_splits(None, None, train_file, validation_file, test_file, data_dir=str(data_dir))
    task = resolve_task(None, None, splits["train"]["label"])
    prepared = prepare_splits(splits, task).splits
    return {
        split: frame[["text"]].assign(label=[task.labels[place] for place in frame["label"]])
        for split, frame in prepared.items()
    }


def file_of(rows: pd.DataFrame, size: int | None, seed: int, path: Path) -> Path:
    """Write a csv with a seeded sample of the rows, or with all of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chosen = rows if size is None or size >= len(rows) else rows.sample(size, random_state=seed)
    chosen.to_csv(path, index=False)
    return path


def trial(words: list[str], validation: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Train by these words of a command line, and score what came out on validation rows beside the baseline."""
    args = parse_command_line([*words, f"--output_dir={folder}", "--overwrite_output_dir=true"])
    started = time.perf_counter()
    finished = train(args)
    seconds = time.perf_counter() - started
    run = read_json(folder / "run.json")
    history = _history(run)
    # The checkpoint that the run chose, the one that another rule would have chosen, and the last one.
    steps = {
        "last": history[-1][0],
        "by_loss": min(history, key=lambda entry: entry[1])[0],
        "by_macro_f1": max(history, key=lambda entry: entry[2])[0],
    }
    chosen = int(run["best_checkpoint"].split("-")[-1])
    systems = {"fp32": finished.scorer.logits}
    for step in {*steps.values()} - {chosen}:
        checkpoint = str(folder / f"checkpoint-{step}")
        model = load_classifier(checkpoint, load_config(checkpoint)).eval()
        systems[f"step {step}"] = TextScorer(finished.scorer.tokenizer, args.text_settings, torch_forward(model)).logits
    systems["baseline"] = lambda texts: baseline_logits(finished.baseline, texts, finished.data.task)
    rows = map_labels(validation, finished.data.task, "validation")
    scores = {name: _scores(predict(rows["text"]), rows, finished.data.task) for name, predict in systems.items()}
    others = {name: scores.get(f"step {step}", scores["fp32"]) for name, step in steps.items()}
    own = {key: value for key, value in args.as_recipe().items() if key in RECORDED}
    figures = {"seconds": round(seconds, 1), "training_seconds": run["training_seconds"], "steps": steps["last"]}
    named = {name: scores[name] for name in ("fp32", "baseline")} | others
    return {"validation": named, **figures, "chosen_step": chosen, "keys": own, "history": history}


def _scores(logits: Any, rows: pd.DataFrame, task: Any) -> dict[str, float]:
    scores = task.scores(logits, rows["label"])
    return {name: round(scores[name], 5) for name in ("accuracy", "macro_f1")}


RECORDED = (
    "learning_rate",
    "num_train_epochs",
    "per_device_train_batch_size",
    "warmup_ratio",
    "class_weights",
    "max_length",
    "truncation",
    "early_stopping_patience",
)


def _history(run: dict[str, Any]) -> list[list[float]]:
    """Step, loss and macro-F1 on the run's own validation rows, each time it was evaluated."""
    entries = [entry for entry in run["history"] if "eval_loss" in entry]
    return [[entry["step"], round(entry["eval_loss"], 4), round(entry["eval_macro_f1"], 4)] for entry in entries]


def score_test(folder: Path, rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Score the model of a trial, and the baseline learned from its rows, on the published test rows."""
    classifier = SentimentClassifier.from_pretrained(folder, "torch")
    task = classifier.task
    rows, learned = map_labels(rows, task, "test"), load_labelled(folder / SPLITS_FOLDER / "train.jsonl", task)
    baseline = fit_baseline(learned["text"], learned["label"], task)
    systems = {
        "fp32": classifier.scorer.logits(rows["text"]),
        "baseline": baseline_logits(baseline, rows["text"], task),
    }
    return {name: _scores(logits, rows, task) for name, logits in systems.items()}


def report(lines: list[dict[str, Any]]) -> str:
    """Trials of the same settings as one row of Markdown: mean and standard deviation over seeds, in percent."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in lines:
        trial, keys = line["trial"], line["keys"]
        named = (trial["set"], trial["rows"], f"{keys['learning_rate']:g}", f"{keys['num_train_epochs']:g}")
        groups.setdefault((*named, " ".join(trial["keys"])), []).append(line)
    columns = [f"{split} {system}" for split in ("validation", "test") for system in ("baseline", "fp32")]
    head = ("set", "rows", "learning rate", "epochs", "other keys", "seeds", *columns, "seconds")
    table = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for named, trials in sorted(groups.items()):
        cells = [*named, str(len(trials))]
        for split, system in itertools.product(("validation", "test"), ("baseline", "fp32")):
            scores = [100 * one[split][system][SCORE[named[0]]] for one in trials if split in one]
            spread = f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
            cells.append(f"{statistics.mean(scores):.1f}{spread}" if scores else "–")
        cells.append(f"{statistics.mean(one['training_seconds'] for one in trials):.0f}")
        table.append("| " + " | ".join(cells) + " |")
    return "\n".join(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with the sets' files")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for samples, runs and results.jsonl")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--rows", nargs="+", default=["100", "400", "2000", "all"], help="rows of a sample, or all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of the sample and of the run")
    parser.add_argument("--learning_rates", nargs="+", default=[None], help="none: the default")
    parser.add_argument("--epochs", nargs="+", default=[None], help="none: the default")
    parser.add_argument(
        "--validation_rows", type=int, help="score no more of the published validation rows, a seeded sample"
    )
    parser.add_argument(
        "--test", action="store_true", help="score these trials on the published test rows, once chosen"
    )
    args, keys = parser.parse_known_args()
    log_to_stderr()
    results = args.output_dir / "results.jsonl"
    args.output_dir.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()] if results.is_file() else []
    done = {json.dumps(line["trial"], sort_keys=True): line for line in lines}
    sets = {name: clean_splits(name, args.data_dir) for name in args.sets}
    for splits in sets.values():
        if args.validation_rows and len(splits["validation"]) > args.validation_rows:
            splits["validation"] = splits["validation"].sample(args.validation_rows, random_state=0)
    # The seed varies slowest, so that a sweep that is cut off has compared everything on some seeds.
    for seed, name, size, rate, epochs in itertools.product(
        args.seeds, args.sets, args.rows, args.learning_rates, args.epochs
    ):
        named = {"set": name, "rows": size, "seed": seed, "learning_rate": rate, "epochs": epochs, "keys": keys}
        line = done.setdefault(json.dumps(named, sort_keys=True), {"trial": named})
        if "validation" not in line:
            rows = sets[name]["train"]
            path = args.output_dir / "data" / f"{name}-{size}-{seed}.csv"
            words = [f"--train_file={file_of(rows, None if size == 'all' else int(size), seed, path)}"]
            words += [f"--seed={seed}", "--save_total_limit=100", "--save_only_model=true", "--disable_tqdm=true"]
            words += [] if rate is None else [f"--learning_rate={rate}"]
            words += [] if epochs is None else [f"--num_train_epochs={epochs}"]
            folder = args.output_dir / "runs" / "at_work"
            line |= trial([*words, *keys], sets[name]["validation"], folder)
            for checkpoint in folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
            # The model stays, so that the settings that were chosen can be scored on the test rows.
            line["folder"] = f"{name}-{size}-{seed}-{len(done):03d}"
            folder.rename(folder.with_name(line["folder"]))
        if args.test and "test" not in line:
            line["test"] = score_test(args.output_dir / "runs" / line["folder"], sets[name]["test"])
        write_text(results, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in done.values()))
        logger.info("%s: %s", named, {split: line.get(split) for split in ("validation", "test")})
    show(report(list(done.values())))


if __name__ == "__main__":
    main()
