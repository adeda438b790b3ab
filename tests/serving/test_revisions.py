"""A revision of a model on the Hub is that revision in all of its parts; the cache has other ones of it beside it."""

import copy
import shutil

import numpy as np
import pytest

from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.explain.explainer import Explainer
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.modeling.vocabulary import build_wordpiece_tokenizer
from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.training.folder import save_model

TEXTS = ["房间非常好，早餐让人满意！前台服务一塌糊涂。", "快递低于预期"]


@pytest.fixture
def folders(tmp_path, make_model, tokenizer, reviews, cached_revisions):
    """Two revisions without anything in common: weights, pieces, length."""
    pieces = build_wordpiece_tokenizer(reviews["text"][:40], vocab_size=90, max_length=64)
    for name, seed, own, length in (("old", 1, pieces, 9), ("main", 2, copy.deepcopy(tokenizer), 12)):
        model = make_model(seed=seed)
        record_settings(model.config, own, BUILT_IN_TASKS["reviews"], TextSettings(max_length=length))
        save_model(tmp_path / name, model, own)
    folders = {name: tmp_path / name for name in ("old", "main")}
    cached_revisions("alice/twice", folders)
    return folders


def test_every_part_is_of_the_revision(folders):
    for revision, folder in (("old", folders["old"]), (None, folders["main"])):
        local = SentimentClassifier.from_pretrained(folder)
        cached = SentimentClassifier.from_pretrained("alice/twice", revision=revision)
        assert cached.scorer.settings == local.scorer.settings
        assert cached.scorer.tokenizer.get_vocab() == local.scorer.tokenizer.get_vocab()
        np.testing.assert_allclose(cached.scorer.logits(TEXTS), local.scorer.logits(TEXTS), atol=1e-6)
        explained = Explainer.from_pretrained("alice/twice", revision=revision)
        np.testing.assert_allclose(explained.scorer.logits(TEXTS), local.scorer.logits(TEXTS), atol=1e-5)


def test_onnx_files_are_of_the_revision(folders, cached_revisions, tmp_path):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")
    from sentiment_hf.compression.export import export_model

    export_model(folders["old"], None)
    # One with a file that differs, and one that has no checkpoint: `auto` looks at what that revision has.
    shutil.copytree(folders["old"], tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(folders["old"] / "onnx", folders["main"] / "onnx")
    revisions = {"old": folders["old"], "main": folders["main"], "bare": tmp_path / "bare"}
    cached_revisions("alice/exported", revisions)
    places = {name: f"{place:040x}" for place, name in enumerate(revisions, start=1)}
    for revision in revisions:
        opened = SentimentClassifier.from_pretrained("alice/exported", "onnx", revision=revision)
        assert places[revision] in opened.file.parts
    assert SentimentClassifier.from_pretrained("alice/exported", revision="bare").backend == "onnx"
    assert SentimentClassifier.from_pretrained("alice/exported", revision="old").backend == "torch"
