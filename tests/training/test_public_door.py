"""`SentimentTrainer` used as `Trainer` is: with a name or a model, on raw or tokenized datasets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, pipeline

import sentiment_hf
from sentiment_hf import (
    HeadTail,
    InputError,
    SentimentClassifier,
    SentimentTrainer,
    SentimentTrainingArguments,
    SlidingWindows,
)
from sentiment_hf.data.cleaning import clean
from sentiment_hf.losses.classification import class_weights

ROOT = Path(__file__).parents[2]
NAMES = {"negative": "差评", "positive": "好评"}


@pytest.fixture
def raw(reviews) -> datasets.Dataset:
    """Twenty of one class and twelve of the other, beside a column that nobody reads."""
    rows = reviews.groupby("label").head(20)
    rows = rows.drop(rows.index[rows["label"] == "positive"][:8])
    named = {"text": rows["text"].tolist(), "label": rows["label"].map(NAMES).tolist()}
    return datasets.Dataset.from_dict({**named, "source": ["hotel"] * len(rows)})


@pytest.fixture
def arguments(tmp_path):
    def make(**options):
        quick = {"max_steps": 2, "precision": "fp32", "learning_rate": 1e-3, "disable_tqdm": True}
        return SentimentTrainingArguments(str(tmp_path / "run"), **{**quick, **options})

    return make


def tokens_of(raw, tokenizer) -> datasets.Dataset:
    """As people tokenize without this package."""
    rows = raw.map(lambda row: tokenizer(row["text"], truncation=True, max_length=32), batched=True)
    ids = {name: index for index, name in enumerate(sorted(NAMES.values()))}
    return rows.map(lambda row: {"labels": ids[row["label"]]}).remove_columns(["label"])


@pytest.mark.parametrize("kind", ["names", "class labels", "numbers"])
def test_a_name_and_a_raw_dataset_are_enough(raw, model_folder, arguments, tmp_path, kind):
    plain = raw
    if kind == "class labels":
        raw = raw.cast_column("label", datasets.ClassLabel(names=["差评", "好评"]))
    if kind == "numbers":
        raw = plain = raw.map(lambda row: {"label": {"差评": 1, "好评": 5}[row["label"]]})
    trainer = SentimentTrainer(str(model_folder), arguments(), train_dataset=raw)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    classifier = SentimentClassifier.from_pretrained(tmp_path / "saved")
    expected = {"names": ("好评", "差评"), "class labels": ("差评", "好评"), "numbers": ("1", "5")}[kind]
    assert classifier.task.labels == expected
    texts = [text + "　！！！！！" for text in raw["text"][:6]]
    # What plain transformers say is what this package says, cleaning included.
    stock = pipeline("text-classification", str(tmp_path / "saved"))(texts)
    for prediction, wanted in zip(classifier(texts), stock, strict=True):
        assert (prediction.label, prediction.probability) == (wanted["label"], pytest.approx(wanted["score"], abs=1e-5))
    # What is trained on keeps its ids, in whichever order the labels would come.
    again = SentimentTrainer(tmp_path / "saved", arguments(), train_dataset=plain)
    assert again.task.labels == expected
    assert torch.equal(again.model.classifier.weight, trainer.model.classifier.weight)


def test_labels_and_columns_may_have_any_name(raw, model_folder, arguments):
    renamed = raw.rename_columns({"text": "评论", "label": "结果"})
    names = {"差评": "negative", "好评": "positive"}
    trainer = SentimentTrainer(
        str(model_folder),
        arguments(class_weights="balanced"),
        train_dataset=renamed,
        eval_dataset={"one": renamed, "two": renamed.select(range(8))},
        text_column="评论",
        label_column="结果",
        labels=names,
    )
    assert trainer.model.config.id2label == {0: "negative", 1: "positive"}
    expected = class_weights("balanced", [0] * 20 + [1] * 12, ["negative", "positive"])
    torch.testing.assert_close(trainer.row_loss.weight, expected)
    assert {"eval_one_macro_f1", "eval_two_accuracy"} <= trainer.evaluate().keys()


def test_own_tokens_and_collator_train_as_with_trainer(raw, make_model, tokenizer, arguments, tmp_path):
    rows = tokens_of(raw, tokenizer)
    same = {"per_device_train_batch_size": 8, "max_steps": 3, "learning_rate": 1e-3, "weight_decay": 0.01}
    same |= {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "optim": "adamw_torch_fused"}
    args = arguments(**same, length_grouping=False, data_seed=7)
    collator = DataCollatorWithPadding(tokenizer)
    ours = SentimentTrainer(make_model(), args, collator, rows, processing_class=tokenizer)
    order = list(ours.get_train_dataloader())
    ours.train()

    class InOrder(Trainer):
        def get_train_dataloader(self):
            return order

    warm_up = args.get_warmup_steps(3)
    plain = TrainingArguments(str(tmp_path / "plain"), **same, use_cpu=True, warmup_steps=warm_up)
    theirs = InOrder(make_model(), plain, collator, rows, processing_class=tokenizer)
    theirs.train()
    for (name, one), other in zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)
    assert ours.model.config.id2label == {0: "negative", 1: "positive"}


def test_a_dataset_of_torch_and_no_tokenizer(raw, make_model, tokenizer, arguments):
    rows = tokens_of(raw, tokenizer)

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, place):
            row = rows[place]
            return {name: row[name] for name in ("input_ids", "attention_mask", "labels")}

    args = arguments(class_weights="balanced", sampler="none")
    trainer = SentimentTrainer(make_model(), args, DataCollatorWithPadding(tokenizer), Rows(), Rows())
    expected = class_weights("balanced", rows["labels"][:], ["0", "1"])
    torch.testing.assert_close(trainer.row_loss.weight, expected)
    trainer.train()
    assert trainer.evaluate()["eval_macro_f1"] > 0

    class Bare(torch.nn.Module):
        """Without a config, and so without labels."""

        def __init__(self):
            super().__init__()
            self.inner = make_model()

        def forward(self, input_ids, attention_mask):
            return self.inner(input_ids, attention_mask)

    args = arguments(report_to=[])
    assert SentimentTrainer(Bare(), args, DataCollatorWithPadding(tokenizer), Rows()).train().training_loss > 0
    with pytest.raises(InputError, match="labels, for class_weights and logit_adjustment"):
        SentimentTrainer(Bare(), arguments(class_weights="balanced"), DataCollatorWithPadding(tokenizer), Rows())


def test_own_scores_choose_by_the_loss_unless_told(raw, model_folder, arguments):
    def share(output):
        return {"share": float((output.predictions.argmax(-1) == output.label_ids).mean())}

    given = {"train_dataset": raw, "eval_dataset": raw.select(range(12)), "compute_metrics": share}
    steps = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    trainer = SentimentTrainer(str(model_folder), arguments(**steps), **given)
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert trainer.state.best_metric == pytest.approx(min(losses))
    assert all("eval_share" in entry for entry in trainer.state.log_history if "eval_loss" in entry)
    told = SentimentTrainer(str(model_folder), arguments(metric_for_best_model="share"), **given)
    assert (told.args.metric_for_best_model, told.args.greater_is_better) == ("share", True)


def test_own_loss_as_trainer_takes_it(raw, model_folder, arguments):
    seen = []

    def smooth(outputs, labels, num_items_in_batch=None):
        seen.append((outputs.logits.shape, labels.shape))
        return torch.nn.functional.cross_entropy(outputs.logits, labels, label_smoothing=0.5)

    trainer = SentimentTrainer(str(model_folder), arguments(), train_dataset=raw, compute_loss_func=smooth)
    trainer.train()
    assert seen[0] == ((32, 2), (32,))
    with pytest.raises(InputError, match="a loss of your own, or rdrop_alpha"):
        SentimentTrainer(str(model_folder), arguments(rdrop_alpha=1), train_dataset=raw, compute_loss_func=smooth)


def test_steps_of_map_are_what_the_trainer_does_itself(raw, model_folder, tokenizer, arguments):
    def weights(dataset, **more):
        trainer = SentimentTrainer(str(model_folder), arguments(), train_dataset=dataset, **more)
        trainer.train()
        return trainer

    long = raw.map(lambda row: {"text": row["text"] * 4})
    for step in (HeadTail(tokenizer, 16, head_share=0.25), SlidingWindows(tokenizer, 12, stride=4, max_chunks=3)):
        mapped = weights(long.map(step, batched=True), text_settings=step.settings)
        direct = weights(long, text_settings=step.settings)
        for one, other in zip(mapped.model.parameters(), direct.model.parameters(), strict=True):
            assert torch.equal(one, other)
        assert mapped.aggregation == ("mean" if step.settings.is_sliding else None)
        single = step({"text": long["text"][0]})
        assert single["input_ids"] == long.select([0]).map(step, batched=True)["input_ids"][0]
        whole = tokenizer(clean(long["text"][0], step.settings.cleaning))["input_ids"]
        if not step.settings.is_sliding:
            # A quarter of the fourteen between the special tokens is of the beginning.
            assert single["input_ids"] == [whole[0], *whole[1:5], *whole[-11:]]
    assert mapped.model.config.sentiment_hf["text"]["stride"] == 4
    # Every row has its prediction, with labels and without, in the order of the rows.
    bare = datasets.Dataset.from_dict({"text": ["", *long["text"][:4], None]})
    output = mapped.predict(bare)
    assert (output.label_ids, output.predictions.shape) == (None, (6, 2))
    labelled = mapped.predict(long.select(range(4)))
    np.testing.assert_allclose(labelled.predictions, output.predictions[1:5], atol=1e-5)
    assert labelled.metrics["test_accuracy"] == (labelled.predictions.argmax(-1) == labelled.label_ids).mean()
    assert np.shape(mapped.predict(long.select(range(4)).map(step, batched=True)).predictions) == (4, 2)


def test_what_does_not_go_together_is_refused_before_training(raw, model_folder, make_model, tokenizer, arguments):
    rows = tokens_of(raw, tokenizer)

    def refused(*given, match, **more):
        with pytest.raises(InputError, match=match):
            SentimentTrainer(*given, **more)

    name, args = str(model_folder), arguments()
    refused(name, TrainingArguments("x"), train_dataset=raw, match="SentimentTrainingArguments, found TrainingArg")
    streamed = raw.to_iterable_dataset()
    refused(name, args, train_dataset=streamed, match="a train_dataset with a length, found IterableDataset")
    splits = datasets.DatasetDict(train=raw, test=raw)
    refused(name, args, train_dataset=splits, match=r"the splits train, test.*train_dataset=dataset\['train'\]")
    refused(name, args, train_dataset=raw.rename_column("text", "t"), match="a column 'text' in train_dataset, found")
    refused(name, args, train_dataset=raw.remove_columns("label"), match="a column 'label' or 'labels'")
    refused(make_model(), args, train_dataset=raw, match="a tokenizer for raw texts, found none")
    three = make_model(labels=("LABEL_0", "LABEL_1", "LABEL_2"))
    refused(three, args, train_dataset=raw, processing_class=tokenizer, match="a model with 2 labels .*, found 3")
    shifted = rows.map(lambda row: {"labels": row["labels"] + 1})
    refused(make_model(), args, train_dataset=shifted, match="ids of the 2 labels in train_dataset, found 2")
    refused("starter", args, match="labels for a new head on .*, found none")


def test_names_handed_out_are_one_list():
    assert set(sentiment_hf.__all__) == {*sentiment_hf._PUBLIC, "__version__"}
    assert set(sentiment_hf.__all__) <= set(dir(sentiment_hf))


SCRIPT = """
import json, sys
from datasets import Dataset
from sentiment_hf import SentimentTrainer, SentimentTrainingArguments, TextSettings

rows = json.loads(open(sys.argv[2], encoding="utf-8").read())
settings = TextSettings(max_length=12, truncation="sliding", stride=4)
args = SentimentTrainingArguments(
    sys.argv[3], max_steps=3, per_device_train_batch_size=int(sys.argv[4]), precision="fp32", learning_rate=1e-3,
    disable_tqdm=True, class_weights="balanced",
)
trainer = SentimentTrainer(sys.argv[1], args, train_dataset=Dataset.from_dict(rows), text_settings=settings)
trainer.train()
trainer.save_model()
"""


def test_own_script_on_two_processes_is_that_of_one(raw, make_model, tokenizer, tmp_path):
    model_folder = tmp_path / "model"
    make_model(dropout=0.0).save_pretrained(model_folder)
    tokenizer.save_pretrained(model_folder)
    long = raw.map(lambda row: {"text": row["text"] * (1 + len(row["text"]) % 3)}).remove_columns("source")
    (tmp_path / "rows.json").write_text(json.dumps(long.to_dict()), encoding="utf-8")
    (tmp_path / "mine.py").write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for processes in (1, 2):
        launch = [sys.executable]
        if processes > 1:
            launch += ["-m", "accelerate.commands.launch", f"--config_file={ROOT / 'recipes/accelerate/ddp.yaml'}"]
            launch += [f"--num_processes={processes}", "--num_cpu_threads_per_process=1"]
        words = [tmp_path / "mine.py", model_folder, tmp_path / "rows.json", tmp_path / f"run{processes}"]
        command = [*launch, *map(str, words), str(16 // processes)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (SentimentClassifier.from_pretrained(tmp_path / f"run{count}") for count in (1, 2))
    assert one.task == two.task
    texts = long["text"][:10]
    np.testing.assert_allclose(one.scorer.logits(texts), two.scorer.logits(texts), atol=1e-4)
