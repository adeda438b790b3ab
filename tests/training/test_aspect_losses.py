import math

import pytest
import torch
import torch.nn.functional as F

from sentiment_hf.losses.classification import ClassificationLoss, RDrop, symmetric_kl
from sentiment_hf.modeling.classifier import classifier_config, load_classifier
from sentiment_hf.tasks import AspectTask, aspect_columns
from sentiment_hf.tasks.aspect_losses import (
    AspectLoss,
    aspect_priors,
    aspect_weights,
    ordinal_targets,
    rating_divergence,
    rating_losses,
    star_log_odds,
    task_weights,
)
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.training.trainer import SentimentTrainer
from sentiment_hf.utils.exceptions import InputError

TASK = AspectTask(aspect_columns(["taste", "noise"]), "ordinal")
EVEN = AspectLoss(TASK, (ClassificationLoss(), ClassificationLoss()))
LN4, LN2 = math.log(4), math.log(2)


def test_stars_by_hand():
    assert ordinal_targets(torch.tensor([1, 3, 5])).tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    logits = torch.tensor([[2.0, 1.0, -1.0, -2.0]] * 2)
    right = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2
    losses = rating_losses(logits, torch.tensor([3, MISSING]))
    assert losses.tolist() == pytest.approx([right, 0.0])
    assert rating_losses(torch.tensor([[3.5], [2.0]]), torch.tensor([5, MISSING])).tolist() == pytest.approx([2.25, 0])
    assert rating_divergence(torch.tensor([[1.0]]), torch.tensor([[3.0]])).item() == 4.0
    p, q = torch.tensor([1.0]).sigmoid(), torch.tensor([-1.0]).sigmoid()
    kl = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()) * 2
    assert rating_divergence(torch.ones(1, 4), -torch.ones(1, 4)).item() == pytest.approx(kl.item())


def test_missing_cells_have_no_loss_and_the_mean_is_over_all_aspects():
    outputs = torch.zeros(3, 12)
    labels = torch.tensor([[0, 3, 4], [2, MISSING, MISSING], [MISSING, MISSING, 1]])
    losses = EVEN(outputs, labels)
    assert losses.tolist() == pytest.approx([LN4 + LN2, LN4 / 2, LN2])
    outputs.requires_grad_(True)
    EVEN(outputs, labels)[1].backward()
    assert outputs.grad[1, 4:].abs().sum() == 0
    weighted = AspectLoss(
        TASK, (ClassificationLoss(torch.tensor([3.0, 1, 1, 1])), ClassificationLoss()), task_weights({"rating": 0.5})
    )
    assert weighted(outputs, labels)[0].item() == pytest.approx((3 * LN4 + LN4) / 2 + 0.5 * LN2)


def test_rdrop_runs_over_both_heads():
    torch.manual_seed(0)
    first, second = torch.randn(2, 12), torch.randn(2, 12)
    labels = torch.tensor([[0, 3, 4], [2, 1, 2]])
    cells = symmetric_kl(first[:, :8].view(2, 2, 4), second[:, :8].view(2, 2, 4)).mean(dim=1)
    expected = cells + rating_divergence(first[:, 8:], second[:, 8:])
    torch.testing.assert_close(EVEN.divergence(first, second), expected)
    total = RDrop(EVEN, 2.0)(torch.cat([first, second]), labels)
    torch.testing.assert_close(total, (EVEN(first, labels) + EVEN(second, labels)) / 2 + expected)


def test_a_trainer_weighs_each_aspect_for_itself(tokenizer, tmp_path):
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    weights = torch.arange(1.0, 9.0).view(2, 4)
    priors = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 0.2, 0.1]]).log()
    more = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    more |= {"label_smoothing_factor": 0.1, "logit_adjustment": 1.5, "task_weights": {"rating": 0.5}}
    trainer = SentimentTrainer(
        model=load_classifier("scratch", classifier_config("scratch", TASK, tokenizer, config_overrides=shape)),
        args=SentimentTrainingArguments(output_dir=str(tmp_path), precision="fp32", **more),
        class_weight=weights,
        log_prior=priors,
    )
    torch.manual_seed(0)
    outputs, labels = torch.randn(3, 12), torch.tensor([[0, 3, 4], [2, 1, 2], [1, MISSING, 5]])
    expected = 0.5 * rating_losses(outputs[:, 8:], labels[:, 2])
    for place in (0, 1):
        known = labels[:, place] != MISSING
        values = labels[known, place]
        logits = outputs[known, 4 * place : 4 * place + 4] + 1.5 * priors[place]
        losses = F.cross_entropy(logits, values, reduction="none", label_smoothing=0.1) * weights[place][values]
        expected[known] += losses / 2
    torch.testing.assert_close(trainer.row_loss(outputs, labels), expected)


LABELS = [(0, 3, 5), (2, 3, 5), (2, 1, 1), (2, MISSING, MISSING)]


def test_weights_and_priors_are_taken_aspect_by_aspect():
    weights = aspect_weights(LABELS, TASK, "balanced", 0.999)
    # taste: one negative and three positive; noise: one neutral and two not mentioned, one cell missing.
    assert weights[0, 0] / weights[0, 2] == pytest.approx(3.0)
    assert weights[1, 1] / weights[1, 3] == pytest.approx(2.0)
    assert (weights[0, 0] + 3 * weights[0, 2]).item() / 4 == pytest.approx(1.0)
    assert aspect_weights(LABELS, TASK, "none", 0.999) is None
    whole = [(value, value, 3) for value in range(4)]
    torch.testing.assert_close(aspect_priors(whole, TASK), torch.full((2, 4), 0.25).log())
    with pytest.raises(InputError, match="none for neutral, not mentioned of taste"):
        aspect_priors(LABELS, TASK)


def test_thresholds_start_at_the_shares_of_stars():
    odds = star_log_odds([(0, 0, star) for star in (1, 2, 3, 4, 5, 5, 5, 5)])
    expected = torch.tensor([(n + 1) / 10 for n in (7, 6, 5, 4)])
    torch.testing.assert_close(odds.sigmoid(), expected)
    assert F.logsigmoid(odds).isfinite().all()


@pytest.mark.parametrize(("setting", "message"), [({"stars": 1}, "'stars'"), ({"rating": -1}, "at least 0 for rating")])
def test_bad_task_weights(setting, message):
    with pytest.raises(InputError, match=message):
        task_weights(setting)
