"""`DistillationTrainer`: matches a student's hidden states and sentence embeddings to its teacher's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sentiment_hf.distillation.batches import IGNORED, TEACHER_PREFIX
from sentiment_hf.training.sampler import OrderedTrainer


class StudentWithHeads(nn.Module):
    """The student and what helps it to learn and is thrown away afterwards.

    Args:
        encoder: the student.
        teacher_width: hidden size of the teacher; where the student's is another, linear maps lead from its hidden
            states to the teacher's (Jiao et al. 2020, "TinyBERT").
        num_layers: matched layers.
        mlm: add a head for masked tokens; its output matrix is the embedding's.
    """

    def __init__(self, encoder: PreTrainedModel, teacher_width: int, num_layers: int, mlm: bool) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.config.hidden_size
        same = width == teacher_width
        self.maps = nn.ModuleList(nn.Identity() if same else nn.Linear(width, teacher_width) for _ in range(num_layers))
        self.mlm_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width)) if mlm else None

    def forward(self, **features: torch.Tensor) -> Any:
        return self.encoder(**features, output_hidden_states=True)

    def token_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """`[masked, hidden]` -> `[masked, vocabulary]`."""
        assert self.mlm_head is not None
        return F.linear(self.mlm_head(hidden), self.encoder.get_input_embeddings().weight)


class DistillationTrainer(OrderedTrainer):
    """General distillation: the weighted sum of the losses in `sentiment_hf.distillation.trainer`.

    The log carries every loss by name and the speed in tokens (the student's, padding aside) a second.

    Args:
        teacher: an encoder; it is put into evaluation mode and learns nothing.
        layers: the teacher's layer that each layer of the student matches, counted from 0.
        weights: of the losses that are on.
        sentence_statistics: mean and standard deviation of the teacher's sentences, `[2, hidden]`, for
            `pooler_cosine`: encoders put all sentences into a narrow cone, and a classifier needs the differences.
        kwargs: as for `Trainer`; `model` is a `StudentWithHeads`.
    """

    def __init__(
        self,
        *,
        teacher: PreTrainedModel,
        layers: Sequence[int],
        weights: dict[str, float],
        sentence_statistics: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.teacher = teacher.eval().requires_grad_(False).to(self.args.device)
        if self.args.bf16 or self.args.fp16:
            self.teacher.to(torch.bfloat16 if self.args.bf16 else torch.float16)
        self.layers, self.weights = layers, weights
        self.sentence_statistics = None if sentence_statistics is None else sentence_statistics.to(self.args.device)
        self._sums: dict[str, torch.Tensor] = {}
        self._batches = self._tokens = 0
        self.all_tokens, self._since = 0, time.perf_counter()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Compute the loss of a batch, a mean over its tokens and sentences."""
        heads: StudentWithHeads = self.accelerator.unwrap_model(model)
        mask = inputs["attention_mask"]
        outputs = model(input_ids=inputs["input_ids"], attention_mask=mask)
        losses: dict[str, torch.Tensor] = {}
        if self.weights.keys() - {"mlm"}:
            losses |= self._teacher_losses(heads, outputs, inputs)
        if "mlm" in self.weights:
            chosen = inputs["labels"] != IGNORED
            logits = heads.token_logits(outputs.last_hidden_state[chosen])
            losses["mlm"] = masked_cross_entropy(logits.float(), inputs["labels"][chosen])
        self._count(losses, int(mask.sum()))
        loss = torch.stack([self.weights[name] * value for name, value in losses.items()]).sum()
        return (loss, outputs) if return_outputs else loss

    def _teacher_losses(
        self, heads: StudentWithHeads, outputs: Any, inputs: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        prefix = TEACHER_PREFIX if f"{TEACHER_PREFIX}input_ids" in inputs else ""
        teacher_mask = inputs[f"{prefix}attention_mask"]
        with torch.no_grad():
            teacher_outputs = self.teacher(
                input_ids=inputs[f"{prefix}input_ids"], attention_mask=teacher_mask, output_hidden_states=True
            )
        losses: dict[str, torch.Tensor] = {}
        mask = inputs["attention_mask"]
        hidden = [project(states) for project, states in zip(heads.maps, outputs.hidden_states[1:], strict=True)]
        token_losses = {"hidden_cosine": hidden_cosine, "hidden_mse": hidden_mse}
        for name in token_losses.keys() & self.weights.keys():
            # hidden_states[0] are the embeddings.
            pairs = [
                (states[mask.bool()].float(), teacher_outputs.hidden_states[layer + 1][mask.bool()].float())
                for states, layer in zip(hidden, self.layers, strict=True)
            ]
            losses[name] = torch.stack([token_losses[name](*pair) for pair in pairs]).mean()
        sentence = mean_pool(teacher_outputs.last_hidden_state.float(), teacher_mask)
        if "sentence_cosine" in self.weights:
            losses["sentence_cosine"] = sentence_cosine(mean_pool(hidden[-1].float(), mask), sentence)
        if self.sentence_statistics is not None:
            mean, deviation = self.sentence_statistics
            pooled = heads.maps[-1](outputs.pooler_output).float()
            losses["pooler_cosine"] = sentence_cosine(pooled, (sentence - mean) / deviation)
        return losses

    def _count(self, losses: dict[str, torch.Tensor], tokens: int) -> None:
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()
        self._batches += 1
        self._tokens += tokens
        self.all_tokens += tokens

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add each loss, as a mean since the last line, and this process's tokens a second."""
        if "loss" in logs and self._batches:
            seconds = time.perf_counter() - self._since
            logs |= {name: round(float(value) / self._batches, 4) for name, value in self._sums.items()}
            logs["tokens_per_second"] = round(self._tokens / seconds, 1)
            self._sums, self._batches, self._tokens, self._since = {}, 0, 0, time.perf_counter()
        super().log(logs, *args, **kwargs)


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


STATISTICS_BATCH_SIZE = 64
_SMALLEST_DEVIATION = 1e-6


@torch.no_grad()
def sentence_statistics(
    teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int
) -> torch.Tensor:
    """Mean and standard deviation of the teacher's mean-pooled sentences over a sample, `[2, hidden]`."""
    teacher.eval()
    sentences = []
    for start in tqdm(
        range(0, len(texts), STATISTICS_BATCH_SIZE), desc="Looking at the teacher's sentences", unit="batch"
    ):
        batch = tokenizer(
            list(texts[start : start + STATISTICS_BATCH_SIZE]),
            padding=True,
            truncation=True,
            max_length=max_length,
            return_token_type_ids=False,
            return_tensors="pt",
        ).to(teacher.device)
        sentences.append(mean_pool(teacher(**batch).last_hidden_state.float(), batch["attention_mask"]).cpu())
    all_sentences = torch.cat(sentences)
    return torch.stack([all_sentences.mean(0), all_sentences.std(0).clamp(min=_SMALLEST_DEVIATION)])
