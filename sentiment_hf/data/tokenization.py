"""Text becomes tokens: the one function that training and prediction share, and the `datasets.map` step around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.exceptions import InputError

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

TRUNCATIONS = ("right", "left", "head_tail")


@dataclass(frozen=True)
class TextSettings:
    """Everything between a raw text and its `input_ids`; saved in the model's config.

    Attributes:
        cleaning: the cleaning switches.
        max_length: tokens kept, special ones included.
        truncation: `right` keeps the beginning, `left` the end, `head_tail` both.
        head_share: share of the content tokens that `head_tail` takes from the beginning (the rest from the end), after
            Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?".
    """

    cleaning: Cleaning = field(default_factory=Cleaning)
    max_length: int = 128
    truncation: str = "right"
    head_share: float = 0.5

    def __post_init__(self) -> None:
        if self.truncation not in TRUNCATIONS:
            raise InputError(f"truncation {' | '.join(TRUNCATIONS)}", repr(self.truncation), "Use one of these names.")
        if self.max_length < 3:
            raise InputError("max_length of at least 3", str(self.max_length), "Two of the tokens are special ones.")
        if not 0 < self.head_share < 1:
            raise InputError("head_share between 0 and 1", str(self.head_share), "0.5 keeps both ends alike.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> TextSettings:
        known = {item.name for item in fields(cls)} - {"cleaning"}
        cleaning = Cleaning.from_dict(saved.get("cleaning"))
        return cls(cleaning=cleaning, **{key: value for key, value in saved.items() if key in known})


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], settings: TextSettings
) -> dict[str, list[list[int]]]:
    """Clean, tokenize and cut texts.

    Returns:
        The tokenizer's fields (`input_ids`, `attention_mask`, and `token_type_ids` where it has them), one list of at
        most `max_length` integers per text, special tokens in place, not padded.
    """
    # A lone surrogate is no character and the tokenizer refuses it; it is encoded as a question mark.
    cleaned = [clean(text, settings.cleaning).encode("utf-8", "replace").decode("utf-8") for text in texts]
    encoded = tokenizer(cleaned, truncation=False, return_special_tokens_mask=True, verbose=False)
    masks = encoded.pop("special_tokens_mask")
    kept = [_kept_positions(mask, settings) for mask in masks]
    return {
        name: [
            values if positions is None else [values[position] for position in positions]
            for values, positions in zip(rows, kept, strict=True)
        ]
        for name, rows in encoded.items()
    }


def _kept_positions(special_tokens_mask: list[int], settings: TextSettings) -> list[int] | None:
    """Positions that survive the cut, or None where nothing is cut."""
    length = len(special_tokens_mask)
    if length <= settings.max_length:
        return None
    prefix = special_tokens_mask.index(0)
    suffix = special_tokens_mask[::-1].index(0)
    budget = settings.max_length - prefix - suffix
    head_share = {"right": 1.0, "left": 0.0, "head_tail": settings.head_share}[settings.truncation]
    head = round(budget * head_share)
    tail = budget - head
    return [*range(prefix + head), *range(length - suffix - tail, length)]


def tokenize_frame(
    frame: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    settings: TextSettings,
    split: str,
    num_proc: int | None = None,
    cache_dir: str | None = None,
) -> datasets.Dataset:
    """Rows with `doc_id`, `text`, `label` -> a dataset with `doc_id`, `labels`, `length` and the tokenizer's fields.

    The result is cached on disk under a name made of the rows, the tokenizer and the settings, so that a second run
    of the same recipe reads it back.
    """
    import datasets
    from datasets.fingerprint import Hasher

    rows = datasets.Dataset.from_dict(
        {
            "doc_id": frame["doc_id"].astype("int64").tolist(),
            "text": frame["text"].tolist(),
            # One id a row, or for aspects a list of them.
            "labels": [label if isinstance(label, tuple) else int(label) for label in frame["label"]],
        }
    )
    parts = (rows.to_dict(), tokenizer.get_vocab(), tokenizer.backend_tokenizer.to_str(), settings.to_dict())
    folder = _cache_folder(cache_dir)
    return rows.map(
        _encode_batch,
        batched=True,
        fn_kwargs={"tokenizer": tokenizer, "settings": settings},
        remove_columns=["text"],
        num_proc=num_proc,
        cache_file_name=str(folder / f"{split}-{Hasher.hash(parts)}.arrow"),
        new_fingerprint=Hasher.hash(parts),
        desc=f"Tokenizing {split}",
    )


def _encode_batch(
    batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, settings: TextSettings
) -> dict[str, list[Any]]:
    encoded = encode(tokenizer, batch["text"], settings)
    return {**encoded, "length": [len(ids) for ids in encoded["input_ids"]]}


def _cache_folder(cache_dir: str | None) -> Any:
    from pathlib import Path

    import datasets

    folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "sentiment_hf"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
