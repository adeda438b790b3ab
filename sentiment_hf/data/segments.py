"""A second segment for training rows that come with an explanation; prediction never needs one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sentiment_hf.data.tokenization import TextSettings, cleaned_texts
from sentiment_hf.exceptions import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXPLANATION = "explanation"
# Of `max_length`, what an explanation may take at most.
_SHARE = 0.25


def with_explanations(
    encoded: dict[str, list[list[int]]],
    explanations: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    settings: TextSettings,
) -> dict[str, list[list[int]]]:
    """Rows as `encode` gives them -> `[CLS] text [SEP] explanation [SEP]`, the explanation under token type 1.

    Rows with an empty explanation stay as they are. Where both do not fit into `max_length`, the explanation keeps a
    quarter of it at most and the text is cut on the right.

    Raises:
        InputError: a tokenizer without a separator.
    """
    separator = tokenizer.sep_token_id
    if separator is None:
        found = type(tokenizer).__name__
        raise InputError("a tokenizer with a separator, for explanations", found, "Leave `explanations` out.")
    room = max(int(settings.max_length * _SHARE) - 1, 1)
    texts = cleaned_texts(explanations, settings)
    added = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    joined: dict[str, list[list[int]]] = {name: [] for name in encoded}
    for row, ids in enumerate(added):
        second = [*ids[:room], separator] if ids else []
        for name, rows in encoded.items():
            tail = second if name == "input_ids" else [1] * len(second)
            first = rows[row]
            cut = len(first) + len(second) - settings.max_length
            # The last token of the first segment is its separator.
            kept = first if cut <= 0 else [*first[: len(first) - 1 - cut], first[-1]]
            joined[name].append([*kept, *tail])
    return joined
