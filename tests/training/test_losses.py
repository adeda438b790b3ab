import math

import pytest
import torch
import torch.nn.functional as F

from sentiment_hf.losses.classification import (
    ClassificationLoss,
    RDrop,
    class_weights,
    focal_loss,
    log_prior,
    symmetric_kl,
    weighted_cross_entropy,
)
from sentiment_hf.utils.exceptions import InputError

LOGITS_1 = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
LOGITS_2 = torch.tensor([[1.0, 0.0], [-0.5, 1.0]])
LABELS = torch.tensor([0, 1])


def by_hand(alpha: float) -> list[float]:
    """Equation 4 of the R-Drop paper, row by row, in plain Python (with the mean of the cross-entropies)."""
    losses = []
    for row_1, row_2, label in zip(LOGITS_1.tolist(), LOGITS_2.tolist(), LABELS.tolist(), strict=True):
        p, q = ([math.exp(x) / sum(map(math.exp, row)) for x in row] for row in (row_1, row_2))
        cross_entropy = (-math.log(p[label]) - math.log(q[label])) / 2
        kl_pq = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        kl_qp = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
        losses.append(cross_entropy + alpha * (kl_pq + kl_qp) / 2)
    return losses


@pytest.mark.parametrize("alpha", [0.0, 1.0, 4.0])
def test_rdrop_equals_the_formula(alpha):
    losses = RDrop(ClassificationLoss(), alpha)(torch.cat([LOGITS_1, LOGITS_2]), LABELS)
    torch.testing.assert_close(losses, torch.tensor(by_hand(alpha)))
    # Averaged over the batch, not summed.
    assert losses.mean().item() == pytest.approx(sum(by_hand(alpha)) / 2)


def test_symmetric_kl_agrees_with_torch():
    log_p, log_q = LOGITS_1.log_softmax(-1), LOGITS_2.log_softmax(-1)
    expected = F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1)
    expected += F.kl_div(log_p, log_q, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(symmetric_kl(LOGITS_1, LOGITS_2), expected)
    assert torch.equal(symmetric_kl(LOGITS_1, LOGITS_1), torch.zeros(2))


def test_symmetric_kl_is_finite_for_extreme_logits():
    extreme = torch.tensor([[1000.0, -1000.0]])
    assert symmetric_kl(extreme, -extreme).isfinite().all()


def test_rdrop_gradient_reaches_both_halves():
    logits_1, logits_2 = LOGITS_1.clone().requires_grad_(), LOGITS_2.clone().requires_grad_()
    RDrop(ClassificationLoss())(torch.cat([logits_1, logits_2]), LABELS).sum().backward()
    assert logits_1.grad.abs().min() > 0
    assert logits_2.grad.abs().min() > 0


def test_weights_scale_rows():
    losses = weighted_cross_entropy(LOGITS_1, LABELS, torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(losses, F.cross_entropy(LOGITS_1, LABELS, reduction="none") * torch.tensor([1.0, 3.0]))


def test_label_smoothing_agrees_with_torch():
    losses = weighted_cross_entropy(LOGITS_1, LABELS, label_smoothing=0.1)
    torch.testing.assert_close(losses.mean(), F.cross_entropy(LOGITS_1, LABELS, label_smoothing=0.1))


def test_balanced_weights_are_inverse_to_counts_with_mean_one():
    weights = class_weights("balanced", [0, 0, 0, 1], ("negative", "positive"))
    torch.testing.assert_close(weights, torch.tensor([4 / 6, 2.0]))
    assert weights[[0, 0, 0, 1]].mean().item() == pytest.approx(1)


@pytest.mark.parametrize("value", [1, 2.5])
def test_equal_weights_are_no_weights(value):
    weights = class_weights({"negative": value, "positive": value}, [0, 0, 1], ("negative", "positive"))
    torch.testing.assert_close(weights, torch.ones(2))
    torch.testing.assert_close(
        weighted_cross_entropy(LOGITS_1, LABELS, weights), weighted_cross_entropy(LOGITS_1, LABELS)
    )


def test_no_weights():
    assert class_weights("none", [0, 1], ("negative", "positive")) is None


def test_given_weights_keep_their_ratio_and_a_mean_of_one():
    weights = class_weights({"positive": 4}, [0, 0, 1], ("negative", "positive"))
    torch.testing.assert_close(weights, torch.tensor([0.5, 2.0]))


@pytest.mark.parametrize(("setting", "message"), [({"posittive": 2}, "posittive"), ({"positive": 0}, "above 0")])
def test_bad_weights_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        class_weights(setting, [0, 1], ("negative", "positive"))


def test_focal_loss_equals_the_formula():
    # p of the label: softmax([2, -1])[0] = 1 / (1 + e^-3), softmax([0.5, 0])[1] = 1 / (1 + e^0.5).
    p = [1 / (1 + math.exp(-3)), 1 / (1 + math.exp(0.5))]
    expected = torch.tensor([-((1 - value) ** 2) * math.log(value) for value in p])
    torch.testing.assert_close(focal_loss(LOGITS_1, LABELS, 2.0), expected)
    torch.testing.assert_close(
        focal_loss(LOGITS_1, LABELS, 2.0, torch.tensor([1.0, 3.0])), expected * torch.tensor([1.0, 3.0])
    )
    torch.testing.assert_close(focal_loss(LOGITS_1, LABELS, 0.0), weighted_cross_entropy(LOGITS_1, LABELS))


def test_logit_adjustment_equals_the_formula():
    prior = log_prior([0, 0, 0, 1], ("often", "rare"))
    torch.testing.assert_close(prior, torch.tensor([math.log(0.75), math.log(0.25)]))
    losses = ClassificationLoss(adjustment=2 * prior)(LOGITS_1, LABELS)
    expected = []
    for row, label in zip(LOGITS_1.tolist(), LABELS.tolist(), strict=True):
        shifted = [row[0] + 2 * math.log(0.75), row[1] + 2 * math.log(0.25)]
        expected.append(math.log(sum(map(math.exp, shifted))) - shifted[label])
    torch.testing.assert_close(losses, torch.tensor(expected))


def test_a_class_without_rows_has_no_prior():
    with pytest.raises(InputError, match="training rows of every class for logit adjustment, found none for c"):
        log_prior([0, 1, 1], ("a", "b", "c"))


def test_effective_number_weights_equal_the_formula():
    weights = class_weights("effective_number", [0] * 9 + [1], ("a", "b"), beta=0.9)
    raw = [1 / (1 - 0.9**9), 1 / (1 - 0.9)]
    mean = (9 * raw[0] + raw[1]) / 10
    torch.testing.assert_close(weights, torch.tensor([value / mean for value in raw]))
    torch.testing.assert_close(class_weights("effective_number", [0, 0, 1], ("a", "b"), beta=0.0), torch.ones(2))


def test_rdrop_works_on_any_row_loss():
    focal = ClassificationLoss(focal_gamma=2.0, weight=torch.tensor([1.0, 3.0]))
    losses = RDrop(focal, 4.0)(torch.cat([LOGITS_1, LOGITS_2]), LABELS)
    # p of the labels in both forwards, by the margin to the other logit.
    p = [[1 / (1 + math.exp(-margin)) for margin in margins] for margins in ((3.0, 1.0), (-0.5, 1.5))]
    mean = [sum(-((1 - value) ** 2) * math.log(value) for value in row) / 2 for row in p]
    expected = torch.tensor([mean[0], 3 * mean[1]]) + 2 * symmetric_kl(LOGITS_1, LOGITS_2)
    torch.testing.assert_close(losses, expected)
