import pytest
import torch
from transformers import AutoModelForSequenceClassification, ModernBertConfig

from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.mixins import adversarial_embeddings, layerwise_groups
from sentiment_hf.training.run import train
from sentiment_hf.training.setup import output_layer
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json


def test_groups_of_the_layerwise_decay_are_these(make_model):
    model = make_model()
    decayed = {name for name, _ in model.named_parameters() if "bias" not in name and "LayerNorm" not in name}
    groups = layerwise_groups(model, 1e-3, 0.5, 0.01, decayed)
    listed = [(group["name"], group["lr"], group["weight_decay"], len(group["params"])) for group in groups]
    # Two layers of sixteen tensors: six matrices, six biases, and two LayerNorms of a weight and a bias each.
    assert listed == [
        ("embeddings, no weight decay", 1.25e-4, 0.0, 2),
        ("embeddings", 1.25e-4, 0.01, 3),
        ("layer 0, no weight decay", 2.5e-4, 0.0, 10),
        ("layer 0", 2.5e-4, 0.01, 6),
        ("layer 1, no weight decay", 5e-4, 0.0, 10),
        ("layer 1", 5e-4, 0.01, 6),
        ("head, no weight decay", 1e-3, 0.0, 2),
        ("head", 1e-3, 0.01, 2),
    ]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_an_adversarial_step_has_its_length_and_leaves_nothing_behind():
    embeddings = torch.nn.Embedding(4, 3)
    before = embeddings.weight.detach().clone()
    gradient = torch.tensor([[3.0, 0, 0], [0, 4.0, 0], [0, 0, 0], [0, 0, 0]])
    with adversarial_embeddings(embeddings, 0.5, gradient):
        torch.testing.assert_close(embeddings.weight.detach() - before, 0.5 * gradient / 5)
    assert torch.equal(embeddings.weight, before)
    for useless in (torch.zeros(4, 3), torch.full((4, 3), float("nan"))):
        with adversarial_embeddings(embeddings, 0.5, useless):
            assert torch.equal(embeddings.weight, before)
    with pytest.raises(KeyError), adversarial_embeddings(embeddings, 0.5, gradient):
        raise KeyError
    assert torch.equal(embeddings.weight, before)


def finish(words, tmp_path, name, *extra):
    words = [*words, "--baseline=false", "--max_steps=3", "--save_strategy=no", "--eval_strategy=no"]
    words += ["--load_best_model_at_end=false", f"--output_dir={tmp_path / name}", *extra]
    return train(parse_run_arguments(words)).folder


def weights(folder):
    return AutoModelForSequenceClassification.from_pretrained(folder).state_dict()


@pytest.mark.parametrize("extra", [["--layerwise_lr_decay=0.5"], ["--fgm_epsilon=1"]])
def test_options_change_what_is_learned(tiny_arguments, tmp_path, extra):
    plain = weights(finish(tiny_arguments, tmp_path, "plain"))
    other = weights(finish(tiny_arguments, tmp_path, "other", *extra))
    assert not torch.allclose(plain["classifier.weight"], other["classifier.weight"], atol=1e-6)


def test_lower_layers_move_less(tiny_arguments, tmp_path):
    start = weights(finish(tiny_arguments, tmp_path, "start", "--learning_rate=0"))
    plain = weights(finish(tiny_arguments, tmp_path, "plain"))
    decayed = weights(finish(tiny_arguments, tmp_path, "decayed", "--layerwise_lr_decay=0.1"))

    def moved(state, name):
        return (state[name] - start[name]).abs().max().item()

    word = "bert.embeddings.word_embeddings.weight"
    assert moved(decayed, word) < 0.1 * moved(plain, word)
    assert moved(decayed, "classifier.weight") == pytest.approx(moved(plain, "classifier.weight"), rel=0.2)


def test_accumulated_fgm_equals_one_batch(tiny_arguments, tmp_path):
    """The step is along the gradient of the micro-batch, so equal micro-batches give what one of them gives."""
    words = [*tiny_arguments, "--fgm_epsilon=0.5", "--optim=sgd", "--max_grad_norm=0", "--length_grouping=false"]
    text = "房间非常好"
    rows = "text,label\n" + "".join(f"{text},{label}\n" for label in ["positive"] * 64 + ["negative"])
    (tmp_path / "same.csv").write_text(rows, encoding="utf-8")
    validation = "text,label\n房间差,negative\n房间好,positive\n"
    (tmp_path / "validation.csv").write_text(validation, encoding="utf-8")
    words += [f"--train_file={tmp_path / 'same.csv'}", f"--validation_file={tmp_path / 'validation.csv'}"]
    words += ["--protocol=published", "--max_train_rows=64", "--warmup_ratio=0"]
    words = [word.replace("hidden_size: 32", "hidden_dropout_prob: 0, attention_probs_dropout_prob: 0, hidden_size: 32")
             for word in words]  # fmt: skip
    whole = weights(finish(words, tmp_path, "whole", "--per_device_train_batch_size=8", "--max_steps=1"))
    pieces = ["--per_device_train_batch_size=2", "--gradient_accumulation_steps=4", "--max_steps=1"]
    cut = weights(finish(words, tmp_path, "cut", *pieces))
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_lora_is_merged_into_a_stock_model(tiny_arguments, tmp_path):
    pytest.importorskip("peft")
    settings = "--peft={r: 4, alpha: 8, target_modules: [query, value]}"
    start = weights(finish(tiny_arguments, tmp_path, "start", "--learning_rate=0"))
    folder = finish(tiny_arguments, tmp_path, "lora", settings)
    state = weights(folder)
    assert state.keys() == start.keys()
    changed = {name for name in state if not torch.equal(state[name], start[name])}
    layers = {
        f"bert.encoder.layer.{layer}.attention.self.{part}.weight" for layer in (0, 1) for part in ("query", "value")
    }
    heads = {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    assert changed == layers | heads
    assert not (folder / "adapter_config.json").exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            ["--peft={target_modules: [querry]}"],
            "target_modules that the model has, found .*querry.*Layers of this model",
        ),
        (["--peft={target_modules: [query, valeu]}"], "target_modules that the model has, found valeu"),
        (["--peft={r: 0, target_modules: [query]}"], "a whole peft rank r of at least 1, found 0"),
        (["--peft={r: '8', target_modules: [query]}"], "a whole peft rank r of at least 1, found '8'"),
        (["--peft={dropout: 2, target_modules: [query]}"], "a peft dropout from 0 to below 1, found 2"),
        (["--peft={alpha: 0, target_modules: [query]}"], "a peft alpha above 0, found 0"),
        (
            ["--peft={target_modules: [query]}", "--truncation=sliding", "--hierarchical=bilstm"],
            "one chunk at a time, for peft",
        ),
        (
            ["--freeze_encoder=true", "--truncation=sliding", "--hierarchical=bilstm", "--fgm_epsilon=1"],
            "embeddings that learn, for fgm_epsilon, found freeze_encoder",
        ),
        (["--peft={rank: 4}"], "peft settings r, alpha, dropout, target_modules, found rank"),
        (["--peft={r: 4, target_modules: [query]}", "--fgm_epsilon=1"], "embeddings that learn, for fgm_epsilon"),
        (["--layerwise_lr_decay=0"], "layerwise_lr_decay above 0 and at most 1"),
        (["--fgm_epsilon=-1"], "fgm_epsilon of at least 0"),
    ],
)
def test_bad_settings_are_refused(tiny_arguments, tmp_path, extra, message):
    pytest.importorskip("peft")
    with pytest.raises(InputError, match=message):
        finish(tiny_arguments, tmp_path, "refused", *extra)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    "scheduler", ["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"]
)
def test_schedulers_are_transformers_own(tiny_arguments, tmp_path, scheduler):
    folder = finish(tiny_arguments, tmp_path, scheduler, f"--lr_scheduler_type={scheduler}", "--logging_steps=1")
    rates = [entry["learning_rate"] for entry in read_json(folder / "run.json")["history"] if "learning_rate" in entry]
    falls = {"constant": False, "constant_with_warmup": False}.get(scheduler, True)
    assert len(rates) == 3
    assert (rates[-1] < max(rates)) is falls


def test_what_a_scheduler_takes_comes_from_the_recipe(tiny_arguments, tmp_path):
    """Once around, restarts are a cosine, and a polynomial of power 1 is a line: both need to be told more."""
    curves = {}
    for name, settings in (
        ("cosine", []),
        ("cosine_with_restarts", ['--lr_scheduler_kwargs={"num_cycles": 2}']),
        ("linear", []),
        ("polynomial", ['--lr_scheduler_kwargs={"power": 3}']),
    ):
        words = [f"--lr_scheduler_type={name}", "--max_steps=6", "--logging_steps=1", *settings]
        history = read_json(finish(tiny_arguments, tmp_path, name, *words) / "run.json")["history"]
        curves[name] = [entry["learning_rate"] for entry in history if "learning_rate" in entry]
    assert curves["cosine_with_restarts"] != pytest.approx(curves["cosine"])
    assert curves["polynomial"] != pytest.approx(curves["linear"])
    assert sorted(curves["cosine"][2:], reverse=True) == curves["cosine"][2:]
    assert sorted(curves["cosine_with_restarts"][2:], reverse=True) != curves["cosine_with_restarts"][2:]


def test_layers_with_other_names_have_no_decay():
    """ModernBERT's are `layers.0`: everything but the embeddings would pass for the head."""
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    model = AutoModelForSequenceClassification.from_config(ModernBertConfig(**shape, vocab_size=50, pad_token_id=0))
    with pytest.raises(InputError, match="layers named as BERT's, for layerwise_lr_decay, found modernbert"):
        layerwise_groups(model, 1e-3, 0.5, 0.01, set())


def test_a_head_without_a_bias_is_refused_before_training(make_model):
    model = make_model()
    assert output_layer(model, 2) is model.classifier
    model.classifier.bias = None
    with pytest.raises(InputError, match="a head with a bias"):
        output_layer(model, 2)
