"""Each key of a fine-tuning recipe arrives where it acts: at rows, tokens, model, loss, sampler, optimizer, files.

A key without a line in one of the scenes fails the first test. A scene gives all of its keys another value than the
default and does everything that a run does before its first step, with real parts; each key then says what has to be
seen of it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from row_keys import ROWS, SPLITS, write_rows
from run_keys import (
    ADAPTERS,
    ASPECTS,
    DOCUMENTS,
    HEAD_TAIL,
    HIERARCHY,
    SENTENCES,
    TAUGHT,
    WINDOWS,
    Built,
)

from sentiment_hf.config.training_options import FINE_TUNING_PARTS
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.folder import save_model
from sentiment_hf.training.run import train
from sentiment_hf.training.setup import load_data
from sentiment_hf.training.trainer import SentimentTrainer

SCENES = {
    "sentences": SENTENCES,
    "documents": DOCUMENTS,
    "hierarchy": HIERARCHY,
    "taught": TAUGHT,
    "adapters": ADAPTERS,
    "aspects": ASPECTS,
    "rows": ROWS,
    "splits": SPLITS,
}
ROWS_ALONE = ("rows", "splits")
# What a scene needs besides its keys.
BESIDE = {
    "sentences": ["--task=reviews", "--save_steps=14", "--split_seed=5"],
    "documents": [
        "--model=alice/encoder",
        "--per_device_train_batch_size=6",
        "--data_seed=11",
        "--length_grouping=false",
    ],
    "hierarchy": ["--model=FOLDER/base", "--truncation=sliding", "--max_length=16"],
    "taught": [
        "--model=FOLDER/base",
        "--max_train_rows=60",
        "--config_overrides={hidden_dropout_prob: 0, attention_probs_dropout_prob: 0}",
    ],
    "adapters": ["--model=FOLDER/base"],
    "aspects": ["--model=FOLDER/base", "--train_file=FOLDER/aspects.csv"],
    "rows": [],
    "splits": ["--task=reviews"],
}
# Keys of what follows the training, with the test that sees them.
AFTERWARDS = {
    "baseline": "test_switches_of_what_follows_the_training",
    "baseline_only": "test_the_baseline_takes_a_file_as_well",
    "quantize": "test_switches_of_what_follows_the_training",
    "arch": "test_switches_of_what_follows_the_training",
    "max_drop": "test_switches_of_what_follows_the_training",
    "sensitivity": "test_switches_of_what_follows_the_training",
    "activation_ranges": "test_how_ranges_are_read_reaches_the_job",
    "license": "test_switches_of_what_follows_the_training",
}


class _Ready(Exception):
    """Everything is built."""


def test_no_key_is_forgotten():
    fields = {item.name: item for part in FINE_TUNING_PARTS for item in dataclasses.fields(part)}
    assert fields.keys() - AFTERWARDS.keys() == {key for scene in SCENES.values() for key in scene} - {"data_seed"}
    for scene in SCENES.values():
        for key, (value, _) in scene.items():
            default = fields[key].default if key in fields else None
            assert str(value).lower() != str(default).lower(), key


@pytest.fixture(scope="module")
def places(tmp_path_factory, reviews, tokenizer, make_model, cached_revisions):
    """Files and models of all scenes."""
    folder = tmp_path_factory.mktemp("keys")
    few = pd.concat([reviews[reviews["label"] == "negative"][:70], reviews[reviews["label"] == "positive"][:25]])
    # Long enough for every cut to show, some with what cleaning takes away.
    few = few.assign(text=[text * (2 + place % 4) + "好" * (place % 7) for place, text in enumerate(few["text"])])
    few.to_csv(folder / "reviews.csv", index=False)
    (reviews[["text"]][200:220] + "，真的").to_csv(folder / "unlabelled.csv", index=False)
    stars = [5 if label == "positive" else 1 for label in few["label"]]
    cells = {"口味": [1 if star == 5 else -1 for star in stars], "吵不吵": -2, "几星": stars, "star": 3}
    few[["text"]].assign(**cells).to_csv(folder / "aspects.csv", index=False)
    for name, seed in (("base", 1), ("teacher", 2)):
        model = make_model(seed=seed)
        if name == "teacher":
            record_settings(model.config, tokenizer, BUILT_IN_TASKS["reviews"], TextSettings(max_length=32))
        # The encoder alone: a head that it had would be taken over, and none be drawn by the seed.
        save_model(folder / name, model.bert if name == "base" else model, tokenizer)
    cached_revisions("alice/encoder", {"first": folder / "base", "main": folder / "teacher"})
    write_rows(folder, reviews)
    return folder


def built(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """The run of a scene, taken from `train` itself just before the first step."""

    def stop(self: SentimentTrainer, **kwargs: Any) -> None:
        raise _Ready(self)

    written = [*BESIDE[name], *(f"--{key}={value}" for key, (value, _) in SCENES[name].items())]
    given = {word.partition("=")[0] for word in written}
    usual = {"--train_file": "FOLDER/reviews.csv", "--output_dir": f"FOLDER/{name}", "--cache_dir": "FOLDER/cache"}
    usual |= {"--precision": "fp32", "--max_length": "32"}
    if name not in ROWS_ALONE:
        written += [f"{key}={value}" for key, value in usual.items() if key not in given]
    elif "--output_dir" not in given:
        written += [f"--output_dir=FOLDER/{name}"]
    args = parse_run_arguments([word.replace("FOLDER", str(folder)) for word in written])
    monkeypatch.syspath_prepend(str(folder / "packages"))
    data = load_data(args)
    if name in ROWS_ALONE:
        return Built(folder, args, data)
    monkeypatch.setattr(SentimentTrainer, "train", stop)
    if args.training.overwrite_output_dir:
        args.training.folder.mkdir(exist_ok=True)
        for file in ("recipe.yaml", "old.txt"):
            (args.training.folder / file).write_text("seed: 1\n", encoding="utf-8")
    with pytest.raises(_Ready) as ready:
        train(args)
    return Built(folder, args, data, ready.value.args[0])


@pytest.mark.parametrize("name", SCENES)
def test_every_key_acts(name, places, monkeypatch):
    if name == "adapters":
        pytest.importorskip("peft")
    run = built(name, places, monkeypatch)
    assert [key for key, (_, seen) in SCENES[name].items() if not seen(run)] == []
    if name in ("sentences", "documents"):
        # What is saved with the model is what it was trained with.
        saved = TextSettings.from_dict(run.model.config.sentiment_hf["text"])
        assert saved == (HEAD_TAIL if name == "sentences" else WINDOWS)
