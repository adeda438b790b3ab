"""The `datasets.map` steps from rows of text to rows of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment_hf.data.chunks import document_rows
from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.tokenization import EXPLANATION, SLIDING, TextSettings, encode, with_explanations
from sentiment_hf.utils.exceptions import InputError

# Documents that are tokenized at once.
DOCUMENTS_A_BATCH = 50

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from transformers import PreTrainedTokenizerBase


def tokenize_frame(
    frame: pd.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    settings: TextSettings,
    split: str,
    num_proc: int | None = None,
    cache_dir: str | None = None,
) -> datasets.Dataset:
    """Rows with `doc_id`, `text`, `label` -> a dataset with `doc_id`, `labels`, `length` and the tokenizer's fields.

    Where the rows have a `weight`, the dataset has it, too; an `explanation` becomes the second segment.

    Raises:
        InputError: explanations together with sliding windows.

    With sliding windows a row is a document and its fields are lists of chunks: see `document_rows`. The result is
    cached on disk under a name made of the rows, the tokenizer and the settings, so that a second run of the same
    recipe reads it back.
    """
    import datasets
    from datasets.fingerprint import Hasher

    columns = {
        "doc_id": frame["doc_id"].astype("int64").tolist(),
        "text": frame["text"].tolist(),
        # One id a row, or for aspects a list of them.
        "labels": [label if isinstance(label, tuple) else int(label) for label in frame["label"]],
    }
    if "weight" in frame.columns:
        # Rows of other sources than the one with weights have none.
        columns["weight"] = frame["weight"].astype(float).fillna(1.0).tolist()
    if EXPLANATION in frame.columns:
        if settings.is_sliding:
            raise InputError("truncation right, left or head_tail with explanations", "sliding", "Use one of the two.")
        columns[EXPLANATION] = frame[EXPLANATION].fillna("").tolist()
    rows = datasets.Dataset.from_dict(columns)
    parts = (rows.to_dict(), tokenizer.get_vocab(), tokenizer.backend_tokenizer.to_str(), settings.to_dict())
    folder = _cache_folder(cache_dir)
    return rows.map(
        _encode_batch,
        batched=True,
        # A thousand whole articles would be a gigabyte of tokens.
        batch_size=DOCUMENTS_A_BATCH if settings.is_sliding else 1000,
        fn_kwargs={"tokenizer": tokenizer, "settings": settings},
        remove_columns=[name for name in ("text", EXPLANATION) if name in columns],
        num_proc=num_proc,
        cache_file_name=str(folder / f"{split}-{Hasher.hash(parts)}.arrow"),
        new_fingerprint=Hasher.hash(parts),
        desc=f"Tokenizing {split}",
    )


def _encode_batch(
    batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, settings: TextSettings
) -> dict[str, list[Any]]:
    if settings.is_sliding:
        return document_rows(tokenizer, batch["text"], settings)
    encoded = encode(tokenizer, batch["text"], settings)
    if EXPLANATION in batch:
        encoded = with_explanations(encoded, batch[EXPLANATION], tokenizer, settings)
    return {**encoded, "length": [len(ids) for ids in encoded["input_ids"]]}


class _MapStep:
    """A function for `datasets.map`, of whole batches or of single rows."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: TextSettings, text_column: str) -> None:
        self.tokenizer, self.settings, self.text_column = tokenizer, settings, text_column

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        texts = batch[self.text_column]
        if not isinstance(texts, str):
            return _encode_batch({"text": texts}, self.tokenizer, self.settings)
        encoded = _encode_batch({"text": [texts]}, self.tokenizer, self.settings)
        return {name: values[0] for name, values in encoded.items()}


class HeadTail(_MapStep):
    """Tokenize texts for `datasets.map`; of a longer one the beginning and the end are kept.

    After Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?". Adds the tokenizer's fields and `length`.

    >>> cut = HeadTail(tokenizer, max_length=128)
    >>> rows = Dataset.from_dict({"text": ["房间很好"], "label": [1]}).map(cut, batched=True)

    Args:
        tokenizer: a fast one.
        max_length: tokens kept, special ones included.
        head_share: share of the content tokens that comes from the beginning, between 0 and 1; the rest from the end.
        cleaning: what is done to a text before; None for the default of `Cleaning`.
        text_column: the column with the texts.

    Attributes:
        settings: all of that, for `SentimentTrainer(text_settings=…)`, so that the saved model reads texts likewise.

    Raises:
        InputError: a length or a share out of range.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int = 128,
        head_share: float = 0.5,
        cleaning: Cleaning | None = None,
        text_column: str = "text",
    ) -> None:
        settings = TextSettings(cleaning or Cleaning(), max_length, "head_tail", head_share)
        super().__init__(tokenizer, settings, text_column)


class SlidingWindows(_MapStep):
    """Tokenize texts for `datasets.map`; a longer one is cut into overlapping chunks, all of one row.

    A row's fields are lists of chunks, with `chunk_idx` (of each), `num_chunks` and `length`. `DocumentCollator` lays
    them side by side, and `SentimentTrainer` takes one loss a document.

    >>> windows = SlidingWindows(tokenizer, max_length=512, stride=128)
    >>> rows = Dataset.from_dict({"text": ["…" * 9000], "label": [1]}).map(windows, batched=True, batch_size=50)

    Args:
        tokenizer: a fast one.
        max_length: tokens of a chunk, special ones included.
        stride: tokens that neighbouring chunks have in common; None for a quarter of `max_length`.
        max_chunks: chunks of a document that are kept at most; None for all.
        chunk_choice: which these are: `first`, `spread` or `head_tail`.
        aggregation: how the logits of the chunks become those of the document: `mean`, `max` or `logsumexp`.
        cleaning: what is done to a text before; None for the default of `Cleaning`.
        text_column: the column with the texts.

    Attributes:
        settings: all of that, for `SentimentTrainer(text_settings=…)`, so that the saved model reads texts likewise.

    Raises:
        InputError: a length, a stride or a choice out of range.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int = 512,
        stride: int | None = None,
        max_chunks: int | None = None,
        chunk_choice: str = "first",
        aggregation: str = "mean",
        cleaning: Cleaning | None = None,
        text_column: str = "text",
    ) -> None:
        settings = TextSettings(
            cleaning or Cleaning(),
            max_length,
            SLIDING,
            stride=stride,
            max_chunks=max_chunks,
            chunk_choice=chunk_choice,
            aggregation=aggregation,
        )
        super().__init__(tokenizer, settings, text_column)


def _cache_folder(cache_dir: str | None) -> Path:
    import datasets

    folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "sentiment_hf"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
