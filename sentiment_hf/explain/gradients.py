"""Explanation methods that need a torch model: gradient x input, integrated gradients, attention rollout."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from sentiment_hf.data.chunks import Chunk
from sentiment_hf.explain.explanation import Attribution, Target
from sentiment_hf.modeling.forward import concat_heads, reads_documents
from sentiment_hf.utils.exceptions import MissingExtraError

logger = logging.getLogger(__name__)

STEPS = 32
MOST_STEPS = 1024
# Rows of a batch on the path; each is as long as the chunk.
PATH_BATCH = 8
TOLERANCE = 0.05
# Log-odds: of a difference smaller than this a share would say nothing.
_SMALLEST_DIFFERENCE = 0.1


def grad_x_input(model: PreTrainedModel, chunk: Chunk, target: Target) -> Attribution:
    """Score each token by the gradient of the label's log-odds by its embedding, times the embedding.

    Shrikumar et al. 2016, "Not Just a Black Box". It says what a small step would do, which need not be what leaving
    the token out would do.

    Args:
        model: a torch classifier in evaluation mode.
        chunk: what it reads.
        target: the label.
    """
    inputs = _tensors(chunk, model)
    embeddings = _embeddings(model, inputs["input_ids"]).requires_grad_()
    odds = _log_odds(model, inputs, target)(embeddings)
    (gradient,) = torch.autograd.grad(odds.sum(), embeddings)
    return Attribution((gradient * embeddings).sum(dim=-1)[0].detach().double().cpu().numpy())


def integrated_gradients(model: PreTrainedModel, chunk: Chunk, target: Target, mask_id: int) -> Attribution:
    """Gradients on the way from a text of masks alone to the text, which sum to the difference in log-odds.

    Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks". The number of steps doubles until the sum is
    within 5 % of the difference, or 1,024 are reached, which is logged.

    Args:
        model: a torch classifier in evaluation mode.
        chunk: what it reads.
        target: the label.
        mask_id: what stands for no text; special tokens stay as they are.

    Raises:
        MissingExtraError: captum is not installed.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise MissingExtraError("captum", "explain") from error
    inputs = _tensors(chunk, model)
    masked = inputs["input_ids"].clone()
    masked[0, torch.from_numpy(chunk.content).to(masked.device)] = mask_id
    embeddings, baseline = _embeddings(model, inputs["input_ids"]), _embeddings(model, masked)
    forward = _log_odds(model, inputs, target)
    with torch.no_grad():
        difference = float(forward(embeddings) - forward(baseline))
    steps = STEPS
    while True:
        attributed = IntegratedGradients(forward).attribute(
            embeddings, baselines=baseline, n_steps=steps, internal_batch_size=PATH_BATCH
        )
        scores = attributed.sum(dim=-1)[0].detach().double().cpu().numpy()
        missed = abs(float(scores.sum()) - difference) / max(abs(difference), _SMALLEST_DIFFERENCE)
        if missed <= TOLERANCE or steps >= MOST_STEPS:
            break
        steps *= 2
    if missed > TOLERANCE:
        logger.warning(
            "integrated gradients: the scores miss the difference by %.1f %% at %d steps", 100 * missed, steps
        )
    return Attribution(scores, missed, steps)


def attention(model: PreTrainedModel, chunk: Chunk, target: Target) -> Attribution:
    """Where the head's input came from by the attention maps; exploratory, the same for every label.

    Attention rollout (Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers"): the maps of all layers,
    averaged over heads and mixed with the residual, multiplied. The result is read where the head reads: at the first
    token, over all tokens, or with the weights that attention pooling gives to the aspect.

    Args:
        model: a torch classifier loaded with `attn_implementation="eager"`; sdpa returns no maps.
        chunk: what it reads.
        target: the label; only its aspect matters.
    """
    inputs = _tensors(chunk, model)
    with torch.no_grad():
        outputs = model.base_model(**inputs, output_attentions=True)
        rollout = torch.eye(inputs["input_ids"].shape[1], dtype=torch.float64)
        for layer in outputs.attentions:
            mixed = layer[0].mean(dim=0).double().cpu()
            mixed = (mixed + torch.eye(len(mixed), dtype=torch.float64)) / 2
            rollout = mixed / mixed.sum(dim=-1, keepdim=True) @ rollout
        readers = _read_weights(model, outputs.last_hidden_state, target).double().cpu()
    return Attribution((readers @ rollout).numpy())


def _read_weights(model: PreTrainedModel, hidden: torch.Tensor, target: Target) -> torch.Tensor:
    """How much the head takes of each token's last state, `[tokens]`."""
    pooling = model.config.to_dict().get("pooling", "pooler")
    if pooling == "mean":
        return torch.full((hidden.shape[1],), 1 / hidden.shape[1])
    if pooling == "attention":
        query = target.first // target.count
        weights: torch.Tensor = model.queries(hidden)[0, :, query].float().softmax(dim=0)
        return weights
    return torch.eye(hidden.shape[1])[0]


def _tensors(chunk: Chunk, model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values).to(model.device) for name, values in chunk.fields.items()}


def _embeddings(model: PreTrainedModel, input_ids: torch.Tensor) -> torch.Tensor:
    """`[1, tokens]` -> `[1, tokens, hidden]`, as a start of its own."""
    with torch.no_grad():
        embedded: torch.Tensor = model.get_input_embeddings()(input_ids)
    return embedded.detach()


def _log_odds(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], target: Target
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Embeddings `[rows, tokens, hidden]`, in place of those of the chunk's ids -> `Target.log_odds`, `[rows]`."""

    def forward(embeddings: torch.Tensor) -> torch.Tensor:
        rows = {name: values.expand(len(embeddings), -1) for name, values in inputs.items()}
        with _with_embeddings(model, embeddings):
            logits = _logits(model, rows)[:, target.first : target.first + target.count]
        others = torch.cat([logits[:, : target.index], logits[:, target.index + 1 :]], dim=1)
        return logits[:, target.index] - others.logsumexp(dim=1)

    return forward


def _logits(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    if reads_documents(model):
        # Of a hierarchical model, the logits of documents that are one chunk each.
        logits: torch.Tensor = model.document(model.embed_chunks(**inputs).embedding.unsqueeze(1))
        return logits
    return concat_heads(model(**inputs))


@contextmanager
def _with_embeddings(model: PreTrainedModel, embeddings: torch.Tensor) -> Iterator[None]:
    """Let the model go on from these embeddings; not every class takes `inputs_embeds`."""

    def replace(*_: Any) -> torch.Tensor:
        return embeddings

    handle = model.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def frozen(model: PreTrainedModel) -> PreTrainedModel:
    """Put the model into evaluation mode, without gradients of its weights, which no explanation needs."""
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model
