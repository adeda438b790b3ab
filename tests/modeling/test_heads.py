import subprocess
import sys

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig

from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.modeling.classifier import classifier_config, load_classifier
from sentiment_hf.modeling.config_io import record_settings, task_of
from sentiment_hf.modeling.modeling_bert_heads import (
    AspectBertForSequenceClassification,
    PooledBertForSequenceClassification,
)
from sentiment_hf.tasks import BUILT_IN_TASKS, AspectTask, aspect_columns
from sentiment_hf.training.folder import save_model
from sentiment_hf.utils.exceptions import InputError

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
ASPECTS = AspectTask(aspect_columns(["taste", "noise", "price"]), "ordinal")


def make(task, tokenizer, pooling="pooler", **overrides):
    torch.manual_seed(0)
    config = classifier_config("scratch", task, tokenizer, config_overrides=TINY | overrides, pooling=pooling)
    # Fused attention returns no maps.
    return load_classifier("scratch", config, "eager").eval()


@pytest.fixture
def aspect_folder(tmp_path, tokenizer):
    model = make(ASPECTS, tokenizer)
    record_settings(model.config, tokenizer, ASPECTS, TextSettings(max_length=32))
    save_model(tmp_path / "aspects", model, tokenizer)
    return tmp_path / "aspects"


def test_the_pooler_of_one_task_stays_stock(tokenizer):
    assert type(make(BUILT_IN_TASKS["reviews"], tokenizer).config) is BertConfig


@pytest.mark.parametrize("pooling", ["cls", "mean", "attention"])
def test_pooling_is_what_its_name_says_whatever_the_padding(tokenizer, pooling):
    model = make(BUILT_IN_TASKS["reviews"], tokenizer, pooling)
    assert isinstance(model, PooledBertForSequenceClassification)
    assert model.bert.pooler is None
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        hidden = model.bert(ids, attention_mask=mask).last_hidden_state
        pooled = {"cls": hidden[:, 0], "mean": hidden.mean(dim=1)}.get(pooling)
        if pooled is None:
            shares = (hidden @ model.queries.weight.T).softmax(dim=1)
            pooled = (shares * hidden).sum(dim=1)
        alone = model(ids, attention_mask=mask).logits
        padded = model(
            torch.nn.functional.pad(ids, (0, 3)), attention_mask=torch.nn.functional.pad(mask, (0, 3))
        ).logits
        torch.testing.assert_close(alone, model.classifier(pooled))
    torch.testing.assert_close(alone, padded)


def test_each_aspect_may_weigh_the_tokens_for_itself(tokenizer):
    model = make(ASPECTS, tokenizer, "attention")
    ids = torch.tensor([[2, 7, 8, 3]])
    with torch.no_grad():
        before = model(ids)
        model.queries.weight[1] += 1.0
        after = model(ids)
    changed = (before.logits != after.logits).any(dim=-1)[0]
    assert changed.tolist() == [False, True, False]
    assert torch.equal(before.rating, after.rating)


@pytest.mark.parametrize("pooling", ["pooler", "attention"])
def test_shapes_and_ordered_stars(tokenizer, pooling):
    output = make(ASPECTS, tokenizer, pooling)(torch.tensor([[2, 7, 3], [2, 8, 3]]))
    assert output.logits.shape == (2, 3, 4)
    assert output.rating.shape == (2, 4)
    # More stars are never likelier than fewer.
    assert (output.rating.diff(dim=-1) <= 0).all()
    regression = make(AspectTask(ASPECTS.columns, "regression"), tokenizer)
    with torch.no_grad():
        regression.rating.weight.zero_()
    # Around the middle of the scale.
    assert regression(torch.tensor([[2, 7, 3]])).rating.item() == 3.0
    assert make(AspectTask(ASPECTS.columns), tokenizer)(torch.tensor([[2, 7, 3]])).rating is None


def test_it_loads_with_the_package(aspect_folder):
    config = AutoConfig.from_pretrained(aspect_folder)
    model = AutoModelForSequenceClassification.from_pretrained(aspect_folder)
    assert isinstance(model, AspectBertForSequenceClassification)
    assert type(model).__module__.startswith("sentiment_hf.")
    assert task_of(config) == ASPECTS
    assert (model.thresholds != 0).any()


OUTSIDE = """
import sys
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=sys.argv[2] == "trust")
assert "sentiment_hf" not in sys.modules
print(type(model).__name__, model.num_parameters())
"""


@pytest.mark.parametrize("trusted", [True, False])
def test_elsewhere_it_loads_by_its_own_code_or_not_at_all(aspect_folder, trusted, tmp_path):
    # A folder without the package in it, and no editable install on the path: -I and no site's .pth would hide
    # transformers as well, so that what must not happen, an import of the package, is checked in the child.
    words = [sys.executable, "-c", OUTSIDE, str(aspect_folder), "trust" if trusted else "no"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    if trusted:
        assert done.returncode == 0, done.stderr
        own = AutoModelForSequenceClassification.from_pretrained(aspect_folder).num_parameters()
        assert done.stdout.split() == ["AspectBertForSequenceClassification", str(own)]
    else:
        assert done.returncode != 0
        assert "trust_remote_code" in done.stderr
        assert "BertForSequenceClassification " not in done.stdout


def test_it_starts_from_a_stock_encoder(tmp_path, make_model, tokenizer):
    stock = make_model()
    save_model(tmp_path / "stock", stock, tokenizer)
    for task, pooling in ((ASPECTS, "mean"), (BUILT_IN_TASKS["emotion"], "cls")):
        config = classifier_config(str(tmp_path / "stock"), task, tokenizer, pooling=pooling)
        model = load_classifier(str(tmp_path / "stock"), config, new_head=True)
        with pytest.raises(InputError, match="config's shapes, found others in classifier"):
            load_classifier(str(tmp_path / "stock"), config)
        name = "encoder.layer.1.output.dense.weight"
        torch.testing.assert_close(model.bert.get_parameter(name), stock.bert.get_parameter(name))


def test_other_encoders_are_refused(tmp_path, tokenizer):
    from transformers import ElectraConfig

    ElectraConfig(**TINY).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="BERT's kind for pooling: mean, found electra"):
        classifier_config(str(tmp_path), BUILT_IN_TASKS["reviews"], tokenizer, pooling="mean")
    with pytest.raises(InputError, match="the heads of aspects"):
        classifier_config(str(tmp_path), ASPECTS, tokenizer)


def test_other_shapes_of_the_encoder_are_refused(tmp_path, make_model, tokenizer):
    save_model(tmp_path / "stock", make_model(), tokenizer)
    config = classifier_config(
        str(tmp_path / "stock"), BUILT_IN_TASKS["reviews"], tokenizer, config_overrides={"intermediate_size": 16}
    )
    with pytest.raises(InputError, match="config's shapes, found others in bert"):
        load_classifier(str(tmp_path / "stock"), config, new_head=True)


@pytest.mark.parametrize("task", [ASPECTS, BUILT_IN_TASKS["reviews"]])
def test_adapters_merge_into_the_class_they_came_from(tokenizer, task):
    pytest.importorskip("peft", reason="needs the peft extra")
    from sentiment_hf.modeling.lora import add_adapters, merge_adapters

    model = make(task, tokenizer, "mean")
    adapted = add_adapters(model, {"r": 2, "target_modules": ["query"]})
    ids = torch.tensor([[2, 7, 8, 3]])
    before = adapted(input_ids=ids, attention_mask=torch.ones_like(ids))
    merged = merge_adapters(adapted)
    assert type(merged) is type(model)
    after = merged(ids, attention_mask=torch.ones_like(ids), output_attentions=True)
    torch.testing.assert_close(after.logits, before.logits)
    assert len(after.attentions) == 1
    if isinstance(task, AspectTask):
        torch.testing.assert_close(after.rating, before.rating)
        with pytest.raises(ValueError, match="without labels"):
            merged(ids, labels=torch.zeros(1, 3))
