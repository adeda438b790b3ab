"""Sampling for a local model: a random generator per text, and a shared prompt prefix that is computed once."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria

from sentiment_hf.enrich.filters import repeats_itself
from sentiment_hf.enrich.prompts import Question

# As transformers samples where a model's config says nothing else.
TOP_K = 50


class SeededSampler(LogitsProcessor):
    """Makes the likeliest token one that is drawn, so that what is written does not depend on the rest of its batch.

    The likeliest of logits / temperature + Gumbel noise is a draw from their softmax (Maddison et al. 2014,
    "A* Sampling"). Each row's noise comes from its question alone; a temperature of 0 takes the likeliest as it is.

    Args:
        questions: of the batch, one a row.
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        self.temperatures = [question.temperature for question in questions]
        self._generators = [torch.Generator().manual_seed(_seed(question)) for question in questions]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        best, places = scores.float().topk(min(TOP_K, scores.shape[-1]), dim=-1)
        drawn = torch.full_like(scores, -torch.inf)
        for row, (temperature, generator) in enumerate(zip(self.temperatures, self._generators, strict=True)):
            values = best[row]
            if temperature > 0:
                # On the CPU: the same numbers whatever the device.
                noise = torch.rand(values.shape, generator=generator).clamp_min(1e-20)
                values = values / temperature - noise.log().neg().log().to(values.device)
            drawn[row, places[row]] = values.to(drawn.dtype)
        return drawn


class EndOfText(StoppingCriteria):
    """Ends each row of a batch once it holds the lines, or the tokens, that its question asks for, or goes in circles.

    Args:
        tokenizer: of the model.
        start: tokens before what is written.
        questions: of the batch, one a row.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, start: int, questions: Sequence[Question]) -> None:
        self.tokenizer, self.start, self.questions = tokenizer, start, questions
        # Tokens written by each row when it ended.
        self.ended_at: list[int | None] = [None] * len(questions)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        written = input_ids[:, self.start :]
        texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        for row, (question, text) in enumerate(zip(self.questions, texts, strict=True)):
            # The last line is whole when another one has begun.
            whole = sum(bool(line.strip()) for line in text.split("\n")[:-1])
            done = 0 < question.lines <= whole or written.shape[1] >= question.max_tokens
            if self.ended_at[row] is None and (done or (question.lines > 0 and repeats_itself(text))):
                self.ended_at[row] = written.shape[1]
        return torch.tensor([place is not None for place in self.ended_at], device=input_ids.device)

    def counts(self, written: torch.Tensor, eos: Sequence[int]) -> list[int]:
        """How many tokens of each row, `[rows, tokens]`, are its own and not there to fill the batch up."""
        counts = []
        for ids, ended_at in zip(written.tolist(), self.ended_at, strict=True):
            own = ids if ended_at is None else ids[:ended_at]
            ends = [place for place, token in enumerate(own) if token in eos]
            counts.append(ends[0] + 1 if ends else len(own))
        return counts


def _seed(question: Question) -> int:
    # Of the prompt as well: questions of one seed would else all draw the same numbers. torch looks at 32 bits.
    known = f"{question.seed} {question.prompt}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(known).digest()[:4], "big")


# Shorter beginnings are read as fast as they are copied.
SHORTEST_PREFIX = 32


class PrefixCache:
    """Keys and values of the beginning that the last prompts had in common.

    Args:
        model: a causal model in evaluation mode.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._last: list[int] = []
        self._prefix: list[int] = []
        self._states: Any = None

    def states(self, prompt: Sequence[int], rows: int) -> tuple[Any, int]:
        """Copy the states of the prompt's beginning for so many rows, and tell how many tokens that is.

        None and 0 where nothing long enough was seen before. At least one token of the prompt is left to be read.
        """
        ids = list(prompt)
        known = len(self._prefix)
        if not (0 < known < len(ids) and ids[:known] == self._prefix):
            common = _common(self._last, ids[:-1])
            self._prefix, self._states = (
                (ids[:common], self._read(ids[:common])) if common >= SHORTEST_PREFIX else ([], None)
            )
        self._last = ids
        if self._states is None:
            return None, 0
        states = copy.deepcopy(self._states)
        if rows > 1:
            states.batch_repeat_interleave(rows)
        return states, len(self._prefix)

    def _read(self, ids: list[int]) -> Any:
        tensor = torch.tensor([ids], device=self.model.device)
        states = getattr(self.model(tensor, use_cache=True), "past_key_values", None)
        # A model without keys and values, or with states of its own, reads every prompt from its beginning.
        return states if hasattr(states, "batch_repeat_interleave") else None


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))
