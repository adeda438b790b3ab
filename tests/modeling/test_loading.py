import copy
import json
import shutil
import subprocess
import sys
from dataclasses import fields, replace

import pytest
import torch

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.distillation.student import load_encoder
from sentiment_hf.modeling.classifier import classifier_config, load_classifier
from sentiment_hf.modeling.config_io import record_settings, recorded_cleaning, recorded_settings, task_of
from sentiment_hf.modeling.loading import (
    check_max_length,
    load_config,
    load_config_and_tokenizer,
    load_tokenizer,
    max_positions,
)
from sentiment_hf.modeling.vocabulary import build_wordpiece_tokenizer
from sentiment_hf.tasks import BUILT_IN_TASKS, resolve_task
from sentiment_hf.training.folder import save_model
from sentiment_hf.utils.exceptions import InputError

REVIEWS = BUILT_IN_TASKS["reviews"]


def test_vocabulary_is_the_texts_own_and_the_same_every_time(reviews):
    first = build_wordpiece_tokenizer(reviews["text"], vocab_size=400)
    second = build_wordpiece_tokenizer(reviews["text"], vocab_size=400)
    assert first.get_vocab() == second.get_vocab()
    # In another process too, where hashing is seeded differently.
    code = (
        "import sys, hashlib, json; from sentiment_hf.modeling.vocabulary import build_wordpiece_tokenizer as build\n"
        "vocabulary = build(json.load(sys.stdin), vocab_size=400).get_vocab()\n"
        "print(json.dumps(sorted(vocabulary.items())))"
    )
    texts = json.dumps(reviews["text"].tolist())
    done = subprocess.run([sys.executable, "-c", code], input=texts, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [list(item) for item in sorted(first.get_vocab().items())]
    assert first.convert_ids_to_tokens(first("房间PC卡")["input_ids"])[:3] == ["[CLS]", "房", "间"]
    assert first("龘")["input_ids"][1] == first.unk_token_id
    small = build_wordpiece_tokenizer(reviews["text"], vocab_size=40)
    assert len(small) == 40
    assert "房" not in build_wordpiece_tokenizer(["房间很好", "很好"], vocab_size=40).get_vocab()


def test_first_layers_of_a_checkpoint(model_folder):
    tokenizer = load_tokenizer(str(model_folder))
    config = classifier_config(str(model_folder), REVIEWS, tokenizer, num_hidden_layers=1)
    whole = load_classifier(str(model_folder), load_config(str(model_folder)))
    shallow = load_classifier(str(model_folder), config)
    assert len(shallow.bert.encoder.layer) == 1
    query = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(shallow.state_dict()[query], whole.state_dict()[query])


def test_a_folder_without_weights_says_who_deletes_them(model_folder, tmp_path):
    folder = tmp_path / "swept"
    shutil.copytree(model_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(InputError, match=r"model\.safetensors\), found .*config\.json.*--keep_models"):
        load_classifier(str(folder), load_config(str(folder)))
    with pytest.raises(InputError, match="--keep_models"):
        load_encoder(str(folder))


def test_weights_come_up_in_fp32_whatever_they_were_saved_in(model_folder, tmp_path):
    load_classifier(str(model_folder), load_config(str(model_folder))).half().save_pretrained(tmp_path)
    loaded = load_classifier(str(tmp_path), load_config(str(tmp_path)))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_hidden_layers": 3}, "at most 2 layers"),
        ({"config_overrides": {"hiden_size": 8}}, "hiden_size"),
    ],
)
def test_configs_that_cannot_be_are_refused(model_folder, tokenizer, options, message):
    with pytest.raises(InputError, match=message):
        classifier_config(str(model_folder), REVIEWS, tokenizer, **options)


def test_positions(model_folder):
    from transformers import RobertaConfig

    config = load_config(str(model_folder))
    check_max_length(64, config, "it")
    with pytest.raises(InputError, match="at most 64"):
        check_max_length(65, config, "it")
    # RoBERTa's table has two rows that hold no position.
    assert max_positions(RobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512


def test_settings_survive_saving(make_model, tokenizer, tmp_path):
    """All of them, each with another value than its default: one that was lost would come back as that."""
    model, own = make_model(), copy.deepcopy(tokenizer)
    task = replace(resolve_task("mine", {"差评": "negative", "好评": "positive"}, []), metric="accuracy")
    switches = {item.name: not item.default for item in fields(Cleaning) if isinstance(item.default, bool)}
    settings = TextSettings(
        cleaning=Cleaning(**switches, retweets="own_first", topics="words", emoji="remove"),
        max_length=48,
        truncation="sliding",
        head_share=0.25,
        stride=7,
        max_chunks=3,
        chunk_choice="spread",
        aggregation="logsumexp",
    )
    for given, defaults in ((settings, TextSettings()), (settings.cleaning, Cleaning())):
        same = [item.name for item in fields(given) if getattr(given, item.name) == getattr(defaults, item.name)]
        assert same == [], "give it another value here"
    record_settings(model.config, own, task, settings)
    save_model(tmp_path / "model", model, own)
    loaded, read = load_config_and_tokenizer(str(tmp_path / "model"))
    assert recorded_settings(loaded, read, "it") == settings
    assert recorded_cleaning(loaded) == settings.cleaning
    # What stock pipelines cut by.
    assert read.model_max_length == 48
    assert task_of(loaded).space.id_of("好评") == 1
    assert (task_of(loaded).name, task_of(loaded).metric) == ("mine", "accuracy")


def test_whoever_reads_the_config_reads_the_weights(model_folder):
    modes = {(model_folder / name).stat().st_mode for name in ("model.safetensors", "config.json", "tokenizer.json")}
    assert len(modes) == 1


@pytest.mark.shared
def test_a_real_pretrained_encoder_loads_with_four_layers(shared):
    path = str(shared / "models/e5-small-zh-29m")
    tokenizer = load_tokenizer(path)
    config = classifier_config(path, REVIEWS, tokenizer, num_hidden_layers=4)
    model = load_classifier(path, config, attn_implementation="eager", new_head=True)
    assert len(model.bert.encoder.layer) == 4
    assert model.config.hidden_size == 384
    assert model.dtype == torch.float32
    assert len(tokenizer("这个酒店的房间很干净")["input_ids"]) < 12
