"""Prediction and gradients on a GPU are the CPU's."""

import json

import pandas as pd
import pytest
import torch
from datasets import Dataset

from sentiment_hf import SentimentClassifier, TextSettings
from sentiment_hf.cli.main import main
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.training.run import main as train
from sentiment_hf.training.trainer import SentimentTrainer

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["rows", "windows", "hierarchical"])
def trained(request, tiny_arguments, tmp_path, device):
    """A small classifier of each way to read a text, trained where this test runs."""
    words = {
        "rows": [],
        "windows": ["--truncation=sliding", "--stride=4", "--max_length=16"],
        "hierarchical": ["--truncation=sliding", "--stride=4", "--max_length=16", "--hierarchical=bilstm"],
    }[request.param]
    words += ["--use_cpu=true"] if device == "cpu" else []
    assert train([*tiny_arguments, *words]) == 0
    return tmp_path / "run"


def test_the_predictions_of_a_gpu_are_those_of_a_cpu(trained, reviews, device):
    texts = [*reviews["text"].tolist()[:60], "房间很好，" * 30]
    here = SentimentClassifier.from_pretrained(trained, provider=device)
    assert here.providers == (device,)
    there = SentimentClassifier.from_pretrained(trained)
    torch.testing.assert_close(
        torch.tensor(here.scorer.logits(texts)), torch.tensor(there.scorer.logits(texts)), rtol=1e-3, atol=1e-3
    )


def test_the_command_line_predicts_a_file_on_it(trained, reviews, tmp_path, device):
    reviews.head(40)[["text"]].to_csv(tmp_path / "in.csv", index=False)
    words = ["predict", "--model", str(trained), "--file", str(tmp_path / "in.csv"), "--provider"]
    for provider in ("cpu", device):
        assert main([*words, provider, "--output", str(tmp_path / f"{provider}.csv")]) == 0
    labels = [pd.read_csv(tmp_path / f"{provider}.csv")["predicted_label"].tolist() for provider in ("cpu", device)]
    assert labels[0] == labels[1]


def test_documents_in_groups_have_the_gradient_of_the_whole(make_model, tokenizer, reviews, tmp_path, device):
    """And, where the card counts it, less memory."""
    texts = ["".join(reviews["text"][start : start + 12]) for start in range(0, 144, 12)]
    rows = pd.DataFrame({"text": texts, "label": ["negative", "positive"] * 6})
    gradients, memory = [], []
    for group in (None, 4):
        arguments = SentimentTrainingArguments(
            str(tmp_path), max_chunks_per_batch=group, precision="fp32", use_cpu=device == "cpu", seed=3
        )
        trainer = SentimentTrainer(
            make_model(dropout=0.0),
            arguments,
            train_dataset=Dataset.from_pandas(rows),
            processing_class=tokenizer,
            text_settings=TextSettings(max_length=32, truncation="sliding", stride=8),
        )
        batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        assert batch["input_ids"].device.type == device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        model = trainer.model.train()
        trainer.compute_loss(model, batch, num_items_in_batch=12).backward()
        gradients.append(torch.cat([value.grad.flatten() for value in model.parameters() if value.grad is not None]))
        memory.append(torch.cuda.max_memory_allocated() if device == "cuda" else 0)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)
    assert device == "cpu" or memory[1] < memory[0]


def test_a_run_says_what_it_ran_on(trained, device):
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    if device == "cuda":
        assert record["environment"]["hardware"]["gpu"] == torch.cuda.get_device_name()
        assert record["peak_memory_mb"]["gpu"] > 0


def test_onnx_runs_on_cuda_where_its_package_is(device):
    """With the package's own model; what no provider for GPUs can run says so by what it ran on."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if device == "cpu" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {', '.join(onnxruntime.get_available_providers())}")
    classifier = SentimentClassifier.from_pretrained(backend="int8", provider="cuda")
    assert classifier.providers[0] == "CUDAExecutionProvider"
    texts = ["房间干净，服务也很热情", "房间很吵，再也不来了"]
    assert [prediction.label for prediction in classifier(texts)] == ["positive", "negative"]
