"""What a student is asked to have in common with its teacher: pure functions of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def hidden_cosine(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1 - cosine, mean over tokens (Sanh et al. 2019, "DistilBERT").

    Args:
        student: hidden states of the tokens that are no padding, `[tokens, hidden]`.
        teacher: the same of the teacher's matched layer.
    """
    return 1 - F.cosine_similarity(student, teacher, dim=-1).mean()


def hidden_mse(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared error as a share of the teacher's mean square, so that 1 is as wrong as predicting 0 (cf. Jiao et al.
    2020, "TinyBERT", which leaves the scale to the weight).

    Args:
        student: `[tokens, hidden]`.
        teacher: `[tokens, hidden]`.
    """
    return F.mse_loss(student, teacher) / teacher.square().mean()


def mean_pool(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that are no padding: `[batch, tokens, hidden]` -> `[batch, hidden]`."""
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)


def sentence_cosine(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1 - cosine of sentence embeddings `[batch, hidden]`, mean over the batch."""
    return 1 - F.cosine_similarity(student, teacher, dim=-1).mean()


def masked_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the masked tokens.

    Args:
        logits: `[masked, vocabulary]`.
        labels: `[masked]`; a batch in which nothing happens to be masked gives 0.
    """
    return F.cross_entropy(logits, labels) if len(labels) else logits.sum() * 0
