"""A loss for each document, whatever the number of its chunks, their order and the groups they are computed in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from sentiment_hf.data.collation import DocumentCollator
from sentiment_hf.data.dataset import tokenize_frame
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.training.trainer import SentimentTrainer

RECIPES = Path(__file__).parents[2] / "recipes/accelerate"
NO_THREAD_LEFT = Path(__file__).parents[1] / "no_thread_left.py"
# Not the stride of a model whose settings are lost.
WINDOWS = TextSettings(max_length=24, truncation="sliding", stride=5)


@pytest.fixture
def documents(reviews) -> pd.DataFrame:
    """Twenty documents of one to nine sentences."""
    rows = []
    for place in range(20):
        part = reviews.iloc[place * 9 : place * 9 + 1 + place % 9]
        rows.append({"doc_id": place, "text": "".join(part["text"]), "label": place % 2})
    return pd.DataFrame(rows)


@pytest.fixture
def make_trainer(make_model, tokenizer, documents, tmp_path):
    def make(frame=None, dropout=0.0, aggregation="mean", settings=WINDOWS, **options):
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "precision": "fp32",
            "per_device_train_batch_size": 5,
            "max_steps": 3,
            "learning_rate": 0.1,
            "optim": "sgd",
            "eval_strategy": "no",
            "save_strategy": "no",
            "load_best_model_at_end": False,
            "disable_tqdm": True,
            "length_grouping": False,
        }
        rows = tokenize_frame(
            documents if frame is None else frame, tokenizer, settings, "train", cache_dir=str(tmp_path)
        )
        return SentimentTrainer(
            model=make_model(dropout=dropout),
            args=SentimentTrainingArguments(**{**defaults, **options}),
            train_dataset=rows,
            eval_dataset=rows,
            data_collator=DocumentCollator(tokenizer, 8, settings.max_length),
            processing_class=tokenizer,
            aggregation=aggregation,
        )

    return make


def batch_of(trainer, places):
    return trainer.data_collator([trainer.train_dataset[place] for place in places])


def gradients(trainer, batch):
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def assert_same(first, second, **tolerance):
    assert first[0] == pytest.approx(second[0], rel=1e-5)
    for name, gradient in first[1].items():
        torch.testing.assert_close(gradient, second[1][name], msg=name, **(tolerance or {"rtol": 1e-4, "atol": 1e-6}))


def test_documents_of_one_chunk_have_plain_cross_entropy(make_trainer):
    trainer = make_trainer(settings=TextSettings(max_length=64, truncation="sliding"))
    batch = batch_of(trainer, [0, 9, 18])
    assert len(batch["input_ids"]) == 3
    loss = trainer.compute_loss(trainer.model.eval(), batch)
    logits = trainer.model(batch["input_ids"], batch["attention_mask"]).logits
    torch.testing.assert_close(loss, F.cross_entropy(logits, batch["labels"]))


def test_the_training_loss_of_one_chunk_is_that_of_its_row(make_trainer):
    """In training mode, weighted and smoothed: what the document's logits are worth is what a row's would be."""
    options = {"label_smoothing_factor": 0.1, "settings": TextSettings(max_length=64, truncation="sliding")}
    trainer = make_trainer(**options)
    batch = batch_of(trainer, [0, 9, 18])
    loss = trainer.compute_loss(trainer.model.train(), dict(batch))
    logits = trainer.model(batch["input_ids"], batch["attention_mask"]).logits
    torch.testing.assert_close(loss, F.cross_entropy(logits, batch["labels"], label_smoothing=0.1))


def test_the_divergence_of_documents_by_hand(make_trainer):
    """R-Drop under dropout: the halves of each document's logits, and not those of its neighbour, are compared."""
    trainer = make_trainer(dropout=0.3, rdrop_alpha=2.0, max_chunks_per_batch=None)
    batch = batch_of(trainer, [8, 3])
    torch.manual_seed(1)
    loss = trainer.compute_loss(trainer.model.train(), dict(batch))
    torch.manual_seed(1)
    names = ("input_ids", "attention_mask", "token_type_ids")
    logits = trainer.model(**{name: torch.cat([batch[name], batch[name]]) for name in names}).logits
    of = batch["chunk_document"]
    halves = [
        torch.stack([half[of == document].mean(dim=0) for document in range(2)])
        for half in logits.split(len(batch["input_ids"]))
    ]
    cross_entropy = sum(F.cross_entropy(half, batch["labels"]) for half in halves) / 2
    log_p, log_q = (half.log_softmax(dim=-1) for half in halves)
    divergence = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=-1).mean() / 2
    assert divergence > 1e-4
    torch.testing.assert_close(loss, cross_entropy + 2.0 * divergence)


@pytest.mark.parametrize("aggregation", ["mean", "max", "logsumexp"])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_shuffled_chunks_and_split_batches_change_nothing(make_trainer, aggregation, alpha):
    whole = make_trainer(aggregation=aggregation, rdrop_alpha=alpha, max_chunks_per_batch=None)
    batch = batch_of(whole, [8, 3, 7])
    chunks = len(batch["input_ids"])
    assert chunks > 6
    expected = gradients(whole, batch)
    order = torch.randperm(chunks)
    pieces = ("input_ids", "attention_mask", "token_type_ids", "chunk_document", "chunk_idx")
    shuffled = {name: value[order] if name in pieces else value for name, value in batch.items()}
    assert_same(gradients(whole, shuffled), expected)
    # One giant document among them: two chunks at a time, and the same gradient.
    assert_same(
        gradients(make_trainer(aggregation=aggregation, rdrop_alpha=alpha, max_chunks_per_batch=2), batch), expected
    )


def test_a_group_is_computed_again_under_the_same_dropout(make_trainer):
    trainer = make_trainer(dropout=0.3, max_chunks_per_batch=2)
    batch = batch_of(trainer, [8, 3])
    torch.manual_seed(1)
    split = gradients(trainer, batch)
    # The same groups, one after the other, with everything kept in memory.
    model = make_trainer(dropout=0.3, max_chunks_per_batch=None).model
    model.load_state_dict(trainer.model.state_dict())
    torch.manual_seed(1)
    model.train()
    names = ("input_ids", "attention_mask", "token_type_ids")
    starts = range(0, len(batch["input_ids"]), 2)
    logits = torch.cat([model(**{name: batch[name][start : start + 2] for name in names}).logits for start in starts])
    of = batch["chunk_document"]
    means = torch.stack([logits[of == document].mean(dim=0) for document in range(2)])
    loss = F.cross_entropy(means, batch["labels"])
    loss.backward()
    assert_same(split, (loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))


def test_equal_texts_stay_two_documents(make_trainer, documents):
    twice = pd.concat([documents.iloc[[8]], documents.iloc[[8]].assign(doc_id=99, label=1)], ignore_index=True)
    trainer = make_trainer(twice)
    batch = batch_of(trainer, [0, 1])
    assert batch["doc_id"].tolist() == [8, 99]
    predictions = trainer.predict(trainer.eval_dataset)
    assert predictions.predictions.shape == (2, 2)
    assert predictions.label_ids.tolist() == [0, 1]


def test_accumulated_documents_equal_one_batch(make_trainer):
    weights = []
    for size, steps in ((4, 1), (1, 4)):
        options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "max_grad_norm": 0}
        trainer = make_trainer(**options)
        trainer.train()
        weights.append({name: p.detach().clone() for name, p in trainer.model.named_parameters()})
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=2e-6, msg=name)


def test_evaluation_scores_documents_in_any_order_and_grouping(make_trainer, documents):
    whole = make_trainer().predict(make_trainer().eval_dataset).predictions
    shuffled = documents.sample(frac=1, random_state=0)
    trainer = make_trainer(shuffled, max_chunks_per_batch=3, per_device_eval_batch_size=7)
    again = trainer.predict(trainer.eval_dataset).predictions
    torch.testing.assert_close(torch.tensor(again), torch.tensor(whole[shuffled["doc_id"]]), rtol=1e-4, atol=1e-5)


def test_two_processes_equal_one(documents, tmp_path):
    """Eight validation documents do not divide by two processes with batches of three: one of them gets repeats."""
    # Two thirds of the training rows are of one label: with as many of each, weights would be 1.
    named = documents.assign(label=["positive" if place % 3 else "negative" for place in range(len(documents))])
    named.iloc[:12].to_csv(tmp_path / "train.csv", index=False)
    named.iloc[12:].to_csv(tmp_path / "validation.csv", index=False)
    results = {}
    for processes in (1, 2):
        folder = tmp_path / f"run-{processes}"
        # On a CPU accelerate starts several processes only as if each had a GPU.
        hardware = RECIPES / ("ddp.yaml" if processes > 1 else "cpu.yaml")
        words = [sys.executable, "-m", "accelerate.commands.launch", f"--config_file={hardware}"]
        words += ["--num_cpu_threads_per_process=1"]
        words += [str(NO_THREAD_LEFT), "sentiment_hf.training.run"]
        words += [f"--output_dir={folder}", "--task=reviews", "--model=scratch"]
        words += [
            f"--train_file={tmp_path / 'train.csv'}",
            f"--validation_file={tmp_path / 'validation.csv'}",
            "--config_overrides={hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64,"
            " hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0, vocab_size: 300, initializer_range: 0.3}",
            "--truncation=sliding",
            "--max_length=24",
            "--stride=5",
            "--max_chunks_per_batch=3",
            f"--per_device_train_batch_size={6 // processes}",
            f"--per_device_eval_batch_size={6 // processes}",
            "--optim=sgd",
            "--learning_rate=0.05",
            "--num_train_epochs=2",
            "--class_weights=balanced",
            "--label_smoothing_factor=0.1",
            "--logging_steps=1",
            "--length_grouping=false",
            "--precision=fp32",
            "--protocol=published",
            "--baseline=false",
            "--disable_tqdm=true",
            f"--cache_dir={tmp_path / 'cache'}",
        ]
        words += ["--use_cpu=true", "--ddp_backend=gloo"] if processes > 1 else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert record["distributed_type"] == ("MULTI_CPU" if processes > 1 else "NO")
        assert record["num_processes"] == processes
        history = record["history"]
        results[processes] = [
            {key: entry[key] for key in ("loss", "eval_loss", "eval_macro_f1", "eval_accuracy") if key in entry}
            for entry in history
            if "eval_loss" in entry or "loss" in entry
        ]
    # Two steps and an evaluation an epoch, two epochs.
    assert len(results[1]) == 6
    for one, two in zip(results[1], results[2], strict=True):
        assert two == pytest.approx(one, rel=1e-4)
