import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from sentiment_hf.data.collation import ClassificationCollator
from sentiment_hf.data.dataset import tokenize_frame
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.training.soft_targets import TEACHER_LOGITS, TEACHER_STATES
from sentiment_hf.training.trainer import SentimentTrainer


@pytest.fixture
def rows(reviews, tokenizer, tmp_path) -> Dataset:
    frame = reviews.head(64).assign(doc_id=range(64), label=lambda rows: (rows["label"] == "positive").astype(int))
    return tokenize_frame(frame, tokenizer, TextSettings(max_length=32), "train", cache_dir=str(tmp_path))


@pytest.fixture
def make_trainer(make_model, tokenizer, rows, tmp_path):
    def make(dropout=0.1, class_weight=None, train_rows=None, log_prior=None, **options):
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "precision": "fp32",
            "per_device_train_batch_size": 8,
            "max_steps": 4,
            "learning_rate": 1e-3,
            "eval_strategy": "no",
            "save_strategy": "no",
            "load_best_model_at_end": False,
            "disable_tqdm": True,
        }
        return SentimentTrainer(
            model=make_model(dropout=dropout),
            args=SentimentTrainingArguments(**{**defaults, **options}),
            class_weight=class_weight,
            log_prior=log_prior,
            train_dataset=rows if train_rows is None else train_rows,
            eval_dataset=rows,
            data_collator=ClassificationCollator(tokenizer),
            processing_class=tokenizer,
        )

    return make


@pytest.fixture
def trained(make_trainer):
    """Make and train; one after the other, because a trainer seeds the global generator when it is made."""

    def make_and_train(**options):
        trainer = make_trainer(**options)
        trainer.train()
        return weights_of(trainer)

    return make_and_train


def weights_of(trainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


def assert_same_weights(first, second, **tolerance):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(
            first[name], second[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )


def record_forwards(model) -> list[tuple[int, torch.Tensor]]:
    """Rows and logits of every forward of a model."""
    seen = []
    model.register_forward_hook(
        lambda module, args, kwargs, output: seen.append((kwargs["input_ids"].shape[0], output.logits.detach())),
        with_kwargs=True,
    )
    return seen


def test_rdrop_halves_differ_in_training(make_trainer):
    trainer = make_trainer(rdrop_alpha=1.0, max_steps=1)
    seen = record_forwards(trainer.model)
    trainer.train()
    assert [size for size, _ in seen] == [16]
    half_1, half_2 = seen[0][1].chunk(2)
    # Every row went through two different dropout masks.
    assert (half_1 - half_2).abs().amax(dim=-1).min() > 1e-4


def test_alpha_reaches_the_loss(trained):
    # Without dropout the halves agree and the divergence is nought, whatever alpha.
    assert_same_weights(trained(rdrop_alpha=1.0, dropout=0.0), trained(rdrop_alpha=4.0, dropout=0.0), rtol=0, atol=0)
    weak, strong = trained(rdrop_alpha=1.0), trained(rdrop_alpha=4.0)
    assert any(not torch.equal(weak[name], strong[name]) for name in weak)


def test_alpha_zero_is_one_forward_and_plain_training_step_for_step(
    make_trainer, make_model, tokenizer, rows, tmp_path
):
    ours = make_trainer(rdrop_alpha=0.0)
    seen = record_forwards(ours.model)
    order = list(ours.get_train_dataloader())
    ours.train()
    assert [size for size, _ in seen] == [8, 8, 8, 8]

    # transformers' own trainer and its model's own loss, on the same batches in the same order.
    class InOrder(Trainer):
        def get_train_dataloader(self):
            return [{name: value for name, value in batch.items() if name != "doc_id"} for batch in order]

    arguments = TrainingArguments(
        output_dir=str(tmp_path / "plain"),
        learning_rate=ours.args.learning_rate,
        weight_decay=ours.args.weight_decay,
        warmup_steps=ours.args.get_warmup_steps(4),
        max_steps=4,
        per_device_train_batch_size=8,
        optim="adamw_torch_fused",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=True,
        seed=ours.args.seed,
    )
    plain = InOrder(model=make_model(), args=arguments, train_dataset=rows, processing_class=tokenizer)
    plain.train()
    assert_same_weights(weights_of(ours), weights_of(plain), rtol=0, atol=0)


def test_uniform_class_weights_are_unweighted_training(trained):
    assert_same_weights(trained(), trained(class_weight=torch.ones(2)), rtol=0, atol=0)


def loss_and_logits(trainer, **more):
    """The training loss of eight rows, their logits without dropout, and their labels."""
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(8)]) | more
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    with torch.no_grad():
        logits = trainer.model(batch["input_ids"], batch["attention_mask"]).logits
    return loss, logits, batch["labels"]


PRIOR, WEIGHT = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.5, 3.0])
IMBALANCE = {"dropout": 0.0, "class_weight": WEIGHT, "log_prior": PRIOR, "logit_adjustment": 1.5}


def test_the_training_loss_by_hand(make_trainer):
    loss, logits, labels = loss_and_logits(make_trainer(**IMBALANCE, focal_gamma=2.0))
    log_p = (logits + 1.5 * PRIOR).log_softmax(-1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(loss, ((1 - log_p.exp()) ** 2 * -log_p * WEIGHT[labels]).mean())
    loss, logits, labels = loss_and_logits(make_trainer(**IMBALANCE, label_smoothing_factor=0.2))
    losses = F.cross_entropy(logits + 1.5 * PRIOR, labels, reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(loss, (losses * WEIGHT[labels]).mean())


def test_adjustment_at_prediction_is_in_evaluation_and_not_in_training(make_trainer):
    trainer = make_trainer(**IMBALANCE, logit_adjustment_at="prediction")
    loss, logits, labels = loss_and_logits(trainer)
    torch.testing.assert_close(loss, (F.cross_entropy(logits, labels, reduction="none") * WEIGHT[labels]).mean())
    said = trainer.predict(trainer.eval_dataset)
    shifted = logits - 1.5 * PRIOR
    torch.testing.assert_close(torch.tensor(said.predictions[:8]), shifted, rtol=1e-4, atol=1e-5)
    expected = F.cross_entropy(torch.tensor(said.predictions), torch.tensor(said.label_ids)).item()
    assert said.metrics["test_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_loss_of_taught_rows_by_hand(make_trainer, alpha):
    """Rows without a label have the teacher's loss alone, also under R-Drop, whose halves agree without dropout."""
    taught = {"distillation_weight": 0.3, "distillation_temperature": 2.0, "distillation_hidden_weight": 5.0}
    trainer = make_trainer(dropout=0.0, class_weight=WEIGHT, rdrop_alpha=alpha, distill_from="teacher", **taught)
    torch.manual_seed(1)
    teacher, states = torch.randn(8, 2), torch.randn(8, 2 * 32)
    labels = torch.tensor([0, 1, 1, 0, 1, -100, -100, -100])
    more = {"labels": labels, TEACHER_LOGITS: teacher, TEACHER_STATES: states}
    loss, logits, _ = loss_and_logits(trainer, **more)
    soft = F.kl_div((logits / 2).log_softmax(-1), (teacher / 2).softmax(-1), reduction="none").sum(-1) * 4
    hard = torch.zeros(8)
    hard[:5] = F.cross_entropy(logits[:5], labels[:5], reduction="none") * WEIGHT[labels[:5]]
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(8)])
    with torch.no_grad():
        hidden = trainer.model(batch["input_ids"], batch["attention_mask"], output_hidden_states=True).hidden_states
    apart = [
        F.normalize(hidden[layer][:, 0], dim=-1) - F.normalize(states.view(8, 2, 32)[:, layer - 1], dim=-1)
        for layer in (1, 2)
    ]
    far = sum(difference.square().sum(-1) for difference in apart) / 2
    torch.testing.assert_close(loss, (0.7 * hard + 0.3 * soft + 5 * far).mean())


def test_an_adversarial_step_adds_its_gradient_to_the_plain_one(make_trainer):
    trainer = make_trainer(dropout=0.0, fgm_epsilon=0.5)
    trainer.create_optimizer()
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(8)])
    weight = trainer.model.get_input_embeddings().weight

    def gradient():
        loss = F.cross_entropy(trainer.model(batch["input_ids"], batch["attention_mask"]).logits, batch["labels"])
        return torch.autograd.grad(loss, [weight, trainer.model.classifier.weight])

    trainer.model.train()
    plain = gradient()
    with torch.no_grad():
        weight += 0.5 * plain[0] / plain[0].norm()
    worse = gradient()
    with torch.no_grad():
        weight -= 0.5 * plain[0] / plain[0].norm()
    trainer.training_step(trainer.model, dict(batch), torch.tensor(8))
    for found, first, second in zip((weight, trainer.model.classifier.weight), plain, worse, strict=True):
        torch.testing.assert_close(found.grad, first + second, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_one_batch_of_eight_equals_eight_of_one(trained, rows, alpha):
    """With class weights: the normaliser is the number of rows of the optimizer step, not of the micro-batch."""
    weight = torch.tensor([0.25, 1.75])
    options = {"dropout": 0.0, "class_weight": weight, "rdrop_alpha": alpha, "length_grouping": False}
    # Clipped gradients would have one length whatever they are divided by.
    options |= {"max_steps": 3, "max_grad_norm": 0}
    # 20 rows: the third step of an epoch has four rows only. SGD, because Adam would blow up the rounding noise of the
    # key biases, whose true gradient is nought.
    options |= {"train_rows": rows.select(range(20)), "optim": "sgd", "learning_rate": 0.1}
    whole = trained(per_device_train_batch_size=8, **options)
    pieces = trained(per_device_train_batch_size=1, gradient_accumulation_steps=8, **options)
    assert_same_weights(whole, pieces, rtol=1e-4, atol=2e-6)


def test_a_step_is_divided_by_its_rows_whether_they_have_a_label_or_not(make_trainer):
    trainer = make_trainer()
    step = [{"labels": torch.tensor([-100, 1])}, {"labels": torch.tensor([0, -100])}]
    assert trainer.get_batch_samples(iter(step), 2, trainer.args.device)[1] == 4
    aspects = [{"labels": torch.tensor([[-100, 1, 5], [2, -100, -100]])}]
    assert trainer.get_batch_samples(iter(aspects), 1, trainer.args.device)[1] == 2


def test_evaluation_is_plain_cross_entropy(make_trainer):
    plain = make_trainer().evaluate()["eval_loss"]
    dressed = make_trainer(class_weight=torch.tensor([0.1, 9.0]), rdrop_alpha=4.0, label_smoothing_factor=0.2)
    assert dressed.evaluate()["eval_loss"] == pytest.approx(plain, rel=1e-6)


def test_label_smoothing_reaches_the_loss(make_trainer):
    plain = make_trainer(dropout=0.0).train().training_loss
    smoothed = make_trainer(dropout=0.0, label_smoothing_factor=0.3).train().training_loss
    assert smoothed != pytest.approx(plain, rel=1e-3)


def test_every_parameter_moves(make_trainer):
    trainer = make_trainer(rdrop_alpha=1.0, max_steps=8)
    before = weights_of(trainer)
    trainer.train()
    after = weights_of(trainer)
    # The second segment's embedding and positions past the longest text see no row.
    still = [name for name in before if torch.equal(before[name], after[name])]
    assert still == []


def test_weight_decay_spares_biases_and_layer_norm(make_trainer):
    trainer = make_trainer(weight_decay=0.1)
    optimizer = trainer.create_optimizer()
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    decayed = {names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    spared = {names[id(p)] for group in optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
    assert spared == {name for name in names.values() if name.endswith("bias") or "LayerNorm" in name}
    assert decayed | spared == set(names.values())
    assert optimizer.defaults["fused"] is True


def test_a_layers_share_of_the_rate_reaches_the_optimizer_with_its_weight_decay(make_trainer):
    trainer = make_trainer(layerwise_lr_decay=0.5, learning_rate=0.8, weight_decay=0.1)
    groups = {group["name"]: (group["lr"], group["weight_decay"]) for group in trainer.create_optimizer().param_groups}
    assert groups["embeddings"] == pytest.approx((0.1, 0.1))
    assert groups["layer 1"] == pytest.approx((0.4, 0.1))
    assert groups["head, no weight decay"] == pytest.approx((0.8, 0.0))


def test_warmup_is_a_share_of_the_steps(make_trainer):
    args = make_trainer(warmup_ratio=0.06).args
    assert args.get_warmup_steps(1000) == 60
    assert make_trainer(warmup_steps=7).args.get_warmup_steps(1000) == 7
    trainer = make_trainer(max_steps=100, warmup_ratio=0.1, lr_scheduler_type="linear", learning_rate=1.0)
    optimizer = trainer.create_optimizer()
    scheduler = trainer.create_scheduler(100, optimizer)
    rates = []
    for _ in range(100):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[0] == 0
    assert rates[10] == max(rates) == 1.0
    assert rates[55] == pytest.approx(0.5)


def test_loader_settings_arrive(make_trainer):
    trainer = make_trainer(dataloader_num_workers=2, dataloader_persistent_workers=True, non_blocking=True)
    loader = trainer.get_train_dataloader()
    assert loader.num_workers == 2
    assert loader.persistent_workers is True
    assert sorted(id_ for batch in loader for id_ in batch["doc_id"].tolist()) == list(range(64))


def test_non_blocking_copies_and_pinned_memory_arrive(make_trainer):
    trainer = make_trainer(accelerator_config={"non_blocking": True})
    # transformers turns pinning off without a GPU; where it is on, the loader gets it.
    trainer.args.dataloader_pin_memory = True
    loader = trainer.get_train_dataloader()
    assert loader.pin_memory is True
    assert trainer.accelerator.non_blocking is True
    assert loader._non_blocking is True
    if not torch.cuda.is_available():
        assert make_trainer().accelerator.non_blocking is False


def test_epoch_order_groups_lengths_and_depends_on_epoch_and_seed_alone(make_trainer):
    def order(trainer, epoch):
        loader = trainer.get_train_dataloader()
        loader.set_epoch(epoch)
        return [batch["doc_id"].tolist() for batch in loader]

    first, second = make_trainer(), make_trainer()
    assert order(first, 0) == order(second, 0)
    torch.rand(1)
    assert order(first, 1) == order(second, 1)
    assert order(first, 0) != order(first, 1)
    assert order(first, 0) != order(make_trainer(seed=7), 0)


def test_empty_cache_steps_reach_the_trainer(make_trainer, monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(1))
    # transformers 5 asks accelerate to empty the cache of whatever device there is; a GPU is only pretended here.
    monkeypatch.setattr("accelerate.utils.memory.is_cuda_available", lambda: True)
    make_trainer(max_steps=4).train()
    without = len(calls)
    make_trainer(torch_empty_cache_steps=2, max_steps=4).train()
    assert len(calls) - 2 * without == 2


def test_a_row_counts_as_much_as_its_weight(make_trainer, trained, rows):
    plain = trained(dropout=0.0)
    assert_same_weights(trained(dropout=0.0, train_rows=rows.add_column("weight", [1.0] * len(rows))), plain)
    # Rows of weight 0 pull nothing: with other labels they end in the same place.
    muted = [float(place % 2) for place in range(len(rows))]
    flipped = [1 - label if weight == 0 else label for label, weight in zip(rows["labels"], muted, strict=True)]
    other = rows.remove_columns("labels").add_column("labels", flipped)
    first, second = (
        trained(dropout=0.0, train_rows=part.add_column("weight", muted), max_grad_norm=0) for part in (rows, other)
    )
    assert_same_weights(first, second)
    batch = make_trainer(dropout=0.0)
    inputs = batch.data_collator([rows[place] for place in range(8)])
    batch.model.train()
    whole = batch.compute_loss(batch.model, dict(inputs))
    half = batch.compute_loss(batch.model, inputs | {"weight": torch.full((8,), 0.5)})
    torch.testing.assert_close(half, whole / 2)


def test_every_row_is_scored_whatever_training_leaves_out(make_trainer, rows):
    """64 rows are a batch of 24 and a rest in evaluation, where transformers would drop the rest."""
    options = {"per_device_train_batch_size": 24, "per_device_eval_batch_size": 24}
    trainer, whole = make_trainer(dataloader_drop_last=True, **options), make_trainer(**options)
    assert len(trainer.get_train_dataloader()) == 2
    assert trainer.predict(rows).predictions.shape == (64, 2)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(whole.evaluate()["eval_loss"])
    assert trainer.args.dataloader_drop_last
