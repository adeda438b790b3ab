"""The `datasets.map` step from rows of text to rows of tokens, cached on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment_hf.data.chunks import document_rows
from sentiment_hf.data.segments import EXPLANATION, with_explanations
from sentiment_hf.data.tokenization import TextSettings, encode
from sentiment_hf.exceptions import InputError

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


def _cache_folder(cache_dir: str | None) -> Path:
    import datasets

    folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "sentiment_hf"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
