"""How a teacher's sentence embeddings lie, so that a student's pooler can be asked for what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sentiment_hf.distillation.losses import mean_pool

BATCH_SIZE = 64
_SMALLEST_DEVIATION = 1e-6


@torch.no_grad()
def sentence_statistics(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int
) -> torch.Tensor:
    """Mean and standard deviation of the teacher's mean-pooled sentences over a sample, `[2, hidden]`."""
    teacher.eval()
    sentences = []
    for start in tqdm(range(0, len(texts), BATCH_SIZE), desc="Looking at the teacher's sentences", unit="batch"):
        batch = tokenizer(
            list(texts[start : start + BATCH_SIZE]),
            padding=True,
            truncation=True,
            max_length=max_length,
            return_token_type_ids=False,
            return_tensors="pt",
        ).to(teacher.device)
        sentences.append(mean_pool(teacher(**batch).last_hidden_state.float(), batch["attention_mask"]).cpu())
    all_sentences = torch.cat(sentences)
    return torch.stack([all_sentences.mean(0), all_sentences.std(0).clamp(min=_SMALLEST_DEVIATION)])
