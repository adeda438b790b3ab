"""What prompts of one kind have in common is read once: instructions and examples are most of a judge's prompt."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

# Shorter beginnings are read as fast as they are copied.
SHORTEST = 32


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
            self._prefix, self._states = (ids[:common], self._read(ids[:common])) if common >= SHORTEST else ([], None)
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
