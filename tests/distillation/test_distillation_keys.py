"""Each key of a distillation recipe arrives where it acts; a key without a line here fails the first test."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import BertConfig, BertModel

from sentiment_hf.config.options import DecontaminationArguments
from sentiment_hf.config.training_options import TrainingOptions
from sentiment_hf.distillation.options import DISTILLATION_PARTS
from sentiment_hf.distillation.run import distill, parse_distillation_arguments
from sentiment_hf.distillation.trainer import DistillationTrainer

# Held-out text is `tests/data/test_decontamination.py`'s, and what every training has in common is
# `test_recipe_keys.py`'s.
ELSEWHERE = {item.name for part in (TrainingOptions, DecontaminationArguments) for item in dataclasses.fields(part)}


class _Ready(Exception):
    """Everything is built."""


def masked(run: Any) -> float:
    """The share of the tokens that are masked."""
    torch.manual_seed(0)
    batch = next(iter(DataLoader(run.train_dataset, batch_size=20, collate_fn=run.data_collator)))
    special = torch.isin(batch["input_ids"], torch.tensor(run.data_collator.tokenizer.all_special_ids[:3]))
    return float((batch["labels"] != -100).sum() / (~special).sum())


def counts(run: Any) -> dict[str, int]:
    facts = json.loads((Path(run.args.output_dir) / "corpus.json").read_text(encoding="utf-8"))
    return facts["sources"]["texts.csv"]


def word(encoder: Any) -> torch.Tensor:
    return encoder.get_input_embeddings().weight


# Key -> another value than its default, and what has to be seen of the trainer.
KEYS = {
    "texts": ("[texts.csv]", lambda run: len(run.train_dataset) > 0),
    "data_dir": ("FOLDER", lambda run: len(run.train_dataset) > 0),
    # Texts of some 140 characters: whole, or two passages of each, by default.
    "passage_length": (40, lambda run: counts(run)["passages"] == 3 * counts(run)["texts"]),
    "max_passages": (3, lambda run: counts(run)["passages"] == 3 * counts(run)["texts"]),
    "max_texts": (20, lambda run: len(run.train_dataset) == 20),
    "max_length": (22, lambda run: run.data_collator.max_length == max(run.train_dataset["length"][:]) == 22),
    "teacher": ("FOLDER/teacher", lambda run: run.teacher.config.num_hidden_layers == 3),
    "student": ("random", lambda run: not torch.equal(word(run.model.encoder)[5:], word(run.teacher)[5:])),
    "layers": ("[0, 2]", lambda run: list(run.layers) == [0, 2] and len(run.model.encoder.encoder.layer) == 2),
    "config_overrides": ("{intermediate_size: 24}", lambda run: run.model.encoder.config.intermediate_size == 24),
    "dropout": (0.3, lambda run: run.model.encoder.embeddings.dropout.p == 0.3),
    # So few have no room for every character that stands there twice.
    "vocab_size": (40, lambda run: len(word(run.model.encoder)) == len(word(run.teacher)) == 40),
    "min_character_count": (500, lambda run: len(run.data_collator.tokenizer) == 40),
    "attn_implementation": (
        "eager",
        lambda run: {one.config._attn_implementation for one in (run.model.encoder, run.teacher)} == {"eager"},
    ),
    "hidden_cosine": (0.5, lambda run: run.weights["hidden_cosine"] == 0.5),
    "hidden_mse": (0.0, lambda run: "hidden_mse" not in run.weights),
    "sentence_cosine": (0.25, lambda run: run.weights["sentence_cosine"] == 0.25),
    "pooler_cosine": (0.75, lambda run: run.weights["pooler_cosine"] == 0.75 and run.sentence_statistics is not None),
    "mlm": (0.6, lambda run: run.weights["mlm"] == 0.6 and run.model.mlm_head is not None),
    "mlm_probability": (0.5, lambda run: abs(masked(run) - 0.5) < 0.12),
}


def test_no_key_is_forgotten():
    fields = {item.name: item for part in DISTILLATION_PARTS for item in dataclasses.fields(part)}
    assert fields.keys() - ELSEWHERE == set(KEYS)
    assert [key for key, (value, _) in KEYS.items() if str(value) == str(fields[key].default)] == []


def test_every_key_acts(tmp_path, tokenizer, reviews, monkeypatch):
    """Everything that a distillation does before its first step, with real parts."""

    def stop(self: DistillationTrainer, **kwargs: Any) -> None:
        raise _Ready(self)

    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(**shape, vocab_size=len(tokenizer), max_position_embeddings=64, pad_token_id=0)
    BertModel(config).save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    texts = ["".join(reviews["text"][start : start + 12]) for start in range(0, 180, 12)]
    pd.DataFrame({"text": texts}).to_csv(tmp_path / "texts.csv", index=False)
    words = [f"--{key}={value}".replace("FOLDER", str(tmp_path)) for key, (value, _) in KEYS.items()]
    monkeypatch.setattr(DistillationTrainer, "train", stop)
    with pytest.raises(_Ready) as ready:
        distill(parse_distillation_arguments([*words, f"--output_dir={tmp_path / 'run'}", "--precision=fp32"]))
    run = ready.value.args[0]
    assert [key for key, (_, seen) in KEYS.items() if not seen(run)] == []
