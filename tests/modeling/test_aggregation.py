import math

import numpy as np
import pytest
import torch

from sentiment_hf.inference.scorer import aggregate, aggregate_arrays

LOGITS = torch.tensor([[0.0, 1.0], [2.0, -1.0], [4.0, 0.0]])
DOCUMENTS = torch.tensor([1, 0, 1])
EXPECTED = {
    "mean": [[2.0, -1.0], [2.0, 0.5]],
    "max": [[2.0, -1.0], [4.0, 1.0]],
    "logsumexp": [[2.0, -1.0], [math.log(1 + math.exp(4)), math.log(math.e + 1)]],
}


@pytest.mark.parametrize("method", EXPECTED)
def test_by_hand_and_in_numpy_alike(method):
    result = aggregate(LOGITS, DOCUMENTS, 2, method)
    np.testing.assert_allclose(result, EXPECTED[method], rtol=1e-6)
    again = aggregate_arrays(LOGITS.numpy(), DOCUMENTS.numpy(), 2, method)
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, result, rtol=1e-6)


@pytest.mark.parametrize("method", EXPECTED)
def test_order_and_company_change_nothing(method):
    torch.manual_seed(0)
    logits, documents = torch.randn(40, 3) * 50, torch.randint(0, 7, (40,))
    documents[:7] = torch.arange(7)
    order = torch.randperm(40)
    whole = aggregate(logits, documents, 7, method)
    assert whole.isfinite().all()
    torch.testing.assert_close(aggregate(logits[order], documents[order], 7, method), whole)
    alone = torch.cat([aggregate(logits[documents == d], documents[documents == d] * 0, 1, method) for d in range(7)])
    torch.testing.assert_close(alone, whole)
    # A chunk that stands alone is its document.
    torch.testing.assert_close(aggregate(logits, torch.arange(40), 40, method), logits)


@pytest.mark.parametrize("method", EXPECTED)
def test_gradients(method):
    logits = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    documents = torch.tensor([0, 1, 0, 2, 1, 0])
    assert torch.autograd.gradcheck(lambda values: aggregate(values, documents, 3, method), logits)
