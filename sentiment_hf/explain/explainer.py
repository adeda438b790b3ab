"""`Explainer`: explains predictions of a saved classifier with any method that its backend supports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sentiment_hf.config.values import ATTENTION, EXPLANATIONS, GRADIENT, INTEGRATED, OCCLUSION
from sentiment_hf.data.chunks import Chunk, read_chunks
from sentiment_hf.data.padding import pad_rows
from sentiment_hf.explain.explanation import Attribution, Explanation, Target, choose_targets, explain_chunk
from sentiment_hf.inference.backends import open_backend
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.config_io import recorded_calibration, recorded_settings, task_of
from sentiment_hf.modeling.loading import load_config_and_tokenizer
from sentiment_hf.modeling.names import STARTER_REVIEWS, resolve_model
from sentiment_hf.tasks import Task
from sentiment_hf.utils.exceptions import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOP_CHUNKS = 3


@dataclass
class Explainer:
    """A classifier that gives reasons.

    >>> explainer = Explainer.from_pretrained("runs/quickstart")
    >>> explainer.explain("房间很吵，再也不来了", method="occlusion")[0].words[2].score

    Attributes:
        task: label names.
        scorer: texts -> logits.
        backend: `torch`, `onnx` or `int8`.
        model: the torch model, which gradients and attention need; None for ONNX files.
        temperature: of the probabilities.
    """

    task: Task
    scorer: TextScorer
    backend: str
    model: PreTrainedModel | None = None
    temperature: float = 1.0

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = STARTER_REVIEWS,
        backend: str = "auto",
        provider: str = "cpu",
        revision: str | None = None,
    ) -> Explainer:
        """Load a classifier; the arguments and errors are those of `SentimentClassifier.from_pretrained`."""
        name = resolve_model(str(model))
        config, tokenizer = load_config_and_tokenizer(name, revision)
        # Only eager attention gives its maps.
        settings = recorded_settings(config, tokenizer, name)
        opened = open_backend(name, config, backend, provider, revision, "eager", settings.max_length)
        scorer = TextScorer(
            tokenizer,
            settings,
            opened.forward,
            opened.batch_size,
            document_head=opened.document_head,
            workers=opened.workers,
        )
        if opened.model is not None:
            opened.model.requires_grad_(False)
        return cls(task_of(config), scorer, opened.name, opened.model, recorded_calibration(config)[0])

    def explain(
        self,
        text: str,
        method: str = OCCLUSION,
        label: str | None = None,
        aspect: str | None = None,
        top_chunks: int = TOP_CHUNKS,
    ) -> list[Explanation]:
        """Why the model gives a label to a text, or why not.

        Args:
            text: what is judged.
            method: one of `EXPLANATIONS`; all but `occlusion` need the torch backend.
            label: the label to explain; None for the one that the model gives.
            aspect: of a model with aspects; None for each that the model finds mentioned.
            top_chunks: of a text that is read in chunks, how many to explain: those that speak most for the
                label.

        Returns:
            One explanation for each label and chunk, the chunks that speak most for the label first; none where a
            model with aspects finds no aspect mentioned.

        Raises:
            InputError: an empty text, an unknown label, aspect or method, a method that the backend does not have.
            MissingExtraError: integrated gradients without captum.
        """
        self.check_method(method)
        if top_chunks < 1:
            raise InputError("top_chunks of at least 1", str(top_chunks), "Leave it out for 3.")
        cleaned, chunks, num_chunks = read_chunks(self.scorer.tokenizer, text, self.scorer.settings)
        if not cleaned.strip():
            found = "an empty one" if not text.strip() else "nothing left of it after cleaning"
            raise InputError("a text to explain", found, "Give a text with at least one character.")
        targets = choose_targets(self.task, self.scorer.logits([text])[0], label, aspect)
        logits = self.judge_chunks(chunks)
        explanations = []
        for target in targets:
            odds, probabilities = target.log_odds(logits), target.probability(logits, self.temperature)
            # As the predictor ranks chunks.
            for row in np.argsort(-logits[:, target.first + target.index], kind="stable")[:top_chunks]:
                explanations.append(
                    explain_chunk(
                        text,
                        cleaned,
                        chunks[row],
                        self.attribute(chunks[row], target, method),
                        method=method,
                        label=target.label,
                        aspect=target.aspect,
                        probability=float(probabilities[row]),
                        log_odds=float(odds[row]),
                        num_chunks=num_chunks,
                        exploratory=method == ATTENTION,
                    )
                )
        return explanations

    def attribute(self, chunk: Chunk, target: Target, method: str) -> Attribution:
        """Score the tokens of a chunk by a method."""
        self.check_method(method)
        if method == OCCLUSION:
            return occlusion(self.logits, chunk, target, self.mask_id)
        from sentiment_hf.explain import gradients

        if method == GRADIENT:
            return gradients.grad_x_input(self.model, chunk, target)
        if method == INTEGRATED:
            return gradients.integrated_gradients(self.model, chunk, target, self.mask_id)
        return gradients.attention(self.model, chunk, target)

    def logits(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """`{input_ids, …}`, each `[rows, tokens]` -> logits `[rows, width]`, each row judged as a text of its own."""
        logits = self.scorer.forward(batch)
        head = self.scorer.document_head
        return logits if head is None else np.stack([head(vector[None]) for vector in logits])

    def judge_chunks(self, chunks: Sequence[Chunk]) -> np.ndarray:
        """Run chunks, each as a text of its own -> logits `[chunks, width]`."""
        return self.judge({name: [chunk.fields[name][0].tolist() for chunk in chunks] for name in chunks[0].fields})

    def judge(self, rows: dict[str, list[list[int]]]) -> np.ndarray:
        """Rows of the tokenizer's fields, of any length -> logits `[rows, width]`, a few at a time."""
        scorer, count = self.scorer, len(rows["input_ids"])
        order = np.argsort([len(ids) for ids in rows["input_ids"]], kind="stable")
        parts = []
        for start in range(0, count, scorer.batch_size):
            batch = {name: [rows[name][row] for row in order[start : start + scorer.batch_size]] for name in rows}
            padded = pad_rows(batch, scorer.tokenizer, scorer.pad_to_multiple_of, scorer.settings.max_length)
            parts.append(self.logits(padded))
        logits = np.concatenate(parts)
        return logits[np.argsort(order)]

    @property
    def mask_id(self) -> int:
        """What stands for a token that is hidden."""
        tokenizer = self.scorer.tokenizer
        known = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
        return next(token for token in known if token is not None)

    def check_method(self, method: str) -> None:
        """Raise InputError for an unknown method, or one that this backend does not have."""
        if method not in EXPLANATIONS:
            raise InputError(f"method {' | '.join(EXPLANATIONS)}", repr(method), "Use one of these names.")
        if method != OCCLUSION and self.model is None:
            remedy = "Give a model with a checkpoint and --backend torch, or use --method occlusion."
            raise InputError(f"backend torch for {method}", self.backend, remedy)


OCCLUSION_BATCH_SIZE = 16
# `{input_ids, attention_mask, …}`, each `[batch, tokens]` -> logits `[batch, width]`.
Forward = Callable[[dict[str, np.ndarray]], np.ndarray]


def occlusion(forward: Forward, chunk: Chunk, target: Target, mask_id: int) -> Attribution:
    """How much the label's log-odds fall when a token is masked, for each token.

    After Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", on tokens.

    Args:
        forward: the model on any backend.
        chunk: of n tokens; the model reads it n + 1 times.
        target: the label.
        mask_id: what a hidden token is replaced by.
    """
    content = chunk.content
    # Every token needs a read of its own, so a chunk without content is read once.
    rows = {name: np.repeat(values, len(content) + 1, axis=0) for name, values in chunk.fields.items()}
    rows["input_ids"][np.arange(len(content)) + 1, content] = mask_id
    odds = target.log_odds(in_batches(forward, rows))
    scores = np.zeros(chunk.fields["input_ids"].shape[1])
    scores[content] = odds[0] - odds[1:]
    return Attribution(scores)


def in_batches(forward: Forward, rows: dict[str, np.ndarray]) -> np.ndarray:
    """Logits of rows of one length, `[rows, width]`, a few at a time."""
    count = len(rows["input_ids"])
    parts = [
        forward({name: values[start : start + OCCLUSION_BATCH_SIZE] for name, values in rows.items()})
        for start in range(0, count, OCCLUSION_BATCH_SIZE)
    ]
    return np.concatenate(parts)
