import json
from collections import Counter

import numpy as np
import pytest
import torch

from sentiment_hf.cli.main import main
from sentiment_hf.compression.pruning import kept_tokens, prune_vocabulary
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.classifier import classifier_config, load_classifier
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.modeling.loading import load_config, load_tokenizer
from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.training.folder import save_model
from sentiment_hf.utils.exceptions import InputError

CORPUS = ["房间很干净，早餐也不错。", "前台服务非常好，下次还会考虑！"]
OTHERS = ["电池不耐用", "房间不错"]


@pytest.fixture
def unigram_folder(tmp_path):
    """A classifier on the starter encoder, whose tokens are Unigram's."""
    tokenizer = load_tokenizer("starter")
    config = classifier_config("starter", BUILT_IN_TASKS["reviews"], tokenizer)
    torch.manual_seed(0)
    record_settings(config, tokenizer, BUILT_IN_TASKS["reviews"], TextSettings(max_length=32))
    save_model(tmp_path / "unigram", load_classifier("starter", config, new_head=True), tokenizer)
    return tmp_path / "unigram"


@pytest.mark.parametrize("kind", ["model_folder", "unigram_folder"])
def test_texts_that_keep_their_tokens_have_the_same_logits_to_the_bit(request, tmp_path, kind):
    folder = request.getfixturevalue(kind)
    report = prune_vocabulary(folder, CORPUS, tmp_path / "small", han_rank=0, second_corpus=OTHERS)
    before, after = (SentimentClassifier.from_pretrained(path).scorer for path in (folder, tmp_path / "small"))
    assert np.array_equal(before.logits(CORPUS), after.logits(CORPUS))
    assert report["after"]["vocab_size"] == len(after.tokenizer) < len(before.tokenizer)
    assert report["after"]["parameters"] < report["before"]["parameters"]
    assert report["coverage"]["corpus"]["whole"] == 1.0
    # What lost tokens is spelled by others or unknown, and still classified.
    assert report["coverage"]["second_corpus"]["whole"] < 1.0
    assert np.isfinite(after.logits(OTHERS)).all()
    assert after.settings == before.settings
    assert json.loads((tmp_path / "small/vocabulary.json").read_text(encoding="utf-8")) == report


@pytest.mark.parametrize("kind", ["model_folder", "unigram_folder"])
def test_a_tokenizer_that_cuts_and_pads_is_counted_without(request, tmp_path, kind):
    """As a file from the Hub may: what stands behind the cut is used as well, and padding is no token of a text."""
    folder = request.getfixturevalue(kind)
    tokenizer = load_tokenizer(str(folder))
    plain = prune_vocabulary(folder, CORPUS, tmp_path / "plain", han_rank=0)
    tokenizer.backend_tokenizer.enable_truncation(6)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    again = prune_vocabulary(folder, CORPUS, tmp_path / "again", han_rank=0)
    assert again["after"]["vocab_size"] == plain["after"]["vocab_size"]
    assert again["coverage"] == plain["coverage"]


def test_tokens_that_were_added_stay(unigram_folder, tmp_path):
    tokenizer = load_tokenizer(str(unigram_folder))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<url>"]})
    model = load_classifier(str(unigram_folder), load_config(str(unigram_folder)))
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    save_model(unigram_folder, model, tokenizer)
    texts = ["房间很干净<url>，早餐也不错。"]
    prune_vocabulary(unigram_folder, texts, tmp_path / "small", han_rank=0)
    before, after = (SentimentClassifier.from_pretrained(path).scorer for path in (unigram_folder, tmp_path / "small"))
    np.testing.assert_allclose(before.logits(texts), after.logits(texts), atol=1e-6)
    assert "<url>" in after.tokenizer.all_special_tokens
    assert after.tokenizer.convert_ids_to_tokens(after.tokenizer(texts[0])["input_ids"]).count("<url>") == 1


def test_no_row_is_kept_for_a_han_character_within_a_word(tmp_path, make_model, reviews):
    """WordPiece has ##房, which BERT's normalizer leaves no use for."""
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"房间很好", *(f"##{char}" for char in "房间很好"), "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(tmp_path / "vocab.txt"))
    kept = kept_tokens(tokenizer, Counter(), 1, None)
    assert tokenizer.convert_ids_to_tokens(kept) == words[:9]


def test_every_han_character_of_a_rank_stays(unigram_folder, tmp_path):
    every = prune_vocabulary(unigram_folder, CORPUS, tmp_path / "every")
    some = prune_vocabulary(unigram_folder, CORPUS, tmp_path / "some", han_rank=500)
    assert 500 < some["after"]["vocab_size"] < every["after"]["vocab_size"]
    tokenizer = load_tokenizer(str(tmp_path / "every"))
    assert tokenizer.unk_token_id not in tokenizer("电池不耐用")["input_ids"]
    # The corpus' own characters are among the first.
    assert set(load_tokenizer(str(tmp_path / "some")).tokenize("房间")) <= {"▁", "房间", "房", "间"}


def test_rare_tokens_go_and_what_is_lost_is_said(model_folder, tmp_path, caplog):
    texts = ["房间很好"] * 99 + ["电池很好"]
    report = prune_vocabulary(model_folder, texts, tmp_path / "small", min_count=2, han_rank=0)
    assert report["coverage"]["corpus"]["whole"] == 0.99
    assert "电" in report["coverage"]["corpus"]["examples"]
    assert "lose tokens" not in caplog.text
    prune_vocabulary(model_folder, texts[-1:] + texts[:9], tmp_path / "smaller", min_count=2, han_rank=0)
    assert "10.0 % of the texts of the corpus lose tokens: 电 (1)" in caplog.text


def test_the_command(model_folder, tmp_path, capsys):
    (tmp_path / "texts.csv").write_text("text\n房间很干净\n早餐也不错\n", encoding="utf-8")
    words = [
        "compress",
        "prune",
        "--model",
        str(model_folder),
        "--corpus",
        str(tmp_path / "texts.csv"),
        "--han_rank",
        "10",
    ]
    small = tmp_path / "small"
    assert main([*words, "--vocabulary", "--output_dir", str(small)]) == 0
    assert "100.00% of 2 texts" in capsys.readouterr().out
    assert main([*words, "--vocabulary", "--output_dir", str(small)]) == 2
    assert "an empty folder" in capsys.readouterr().err
    assert main([*words, "--output_dir", str(tmp_path / "other")]) == 2
    assert main(["predict", "--model", str(small), "房间很干净"]) == 0
    with pytest.raises(InputError, match="texts in the corpus"):
        prune_vocabulary(model_folder, ["", None], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_pruned_model_exports(model_folder, tmp_path, reviews):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")
    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization

    prune_vocabulary(model_folder, reviews["text"].tolist(), tmp_path / "small", han_rank=0)
    validation = reviews.head(40).assign(label=lambda rows: (rows["label"] == "positive").astype(int))
    assert export_model(tmp_path / "small", validation, Quantization("dynamic", max_drop=100)).int8.is_file()
