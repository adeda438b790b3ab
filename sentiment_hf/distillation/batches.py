"""Split unlabelled text into passages, and passages into batches for student and teacher."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.data.decontamination import OverlapIndex
from sentiment_hf.data.padding import pad_rows
from sentiment_hf.data.sources import load_texts
from sentiment_hf.data.splits import matching_key
from sentiment_hf.data.tokenization import TextSettings, encode
from sentiment_hf.utils.exceptions import InputError

TEACHER_PREFIX = "teacher_"
IGNORED = -100


def tokenize_passages(
    passages: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    teacher_tokenizer: PreTrainedTokenizerBase | None,
    max_length: int,
) -> datasets.Dataset:
    """Rows with the student's `input_ids` and `length` and, where the teacher cuts text in another way, its
    `teacher_input_ids`. The passages are clean already."""
    settings = TextSettings(cleaning=Cleaning.none(), max_length=max_length)

    def encode_batch(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        ids = encode(tokenizer, batch["text"], settings)["input_ids"]
        columns: dict[str, list[Any]] = {"input_ids": ids, "length": [len(row) for row in ids]}
        if teacher_tokenizer is not None:
            columns[f"{TEACHER_PREFIX}input_ids"] = encode(teacher_tokenizer, batch["text"], settings)["input_ids"]
        return columns

    rows = datasets.Dataset.from_dict({"text": list(passages)})
    return rows.map(encode_batch, batched=True, remove_columns=["text"], desc="Tokenizing")


@dataclass
class DistillationCollator:
    """Pads both sides and, with `mlm_probability` above 0, masks tokens of the student's.

    Where both read the same tokens the teacher reads the masked text too, so that hidden states stay comparable. Of the
    chosen tokens 80 % become the mask, 10 % another token and 10 % stay (Devlin et al. 2019, "BERT").

    >>> batch = DistillationCollator(tokenizer)([{"input_ids": [2, 5, 3]}, {"input_ids": [2, 5, 6, 7, 3]}])
    >>> batch["attention_mask"].sum(1)
    tensor([3, 5])
    """

    tokenizer: PreTrainedTokenizerBase
    teacher_tokenizer: PreTrainedTokenizerBase | None = None
    mlm_probability: float = 0.0
    pad_to_multiple_of: int = 8
    max_length: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self._pad([row["input_ids"] for row in rows], self.tokenizer)
        if self.mlm_probability > 0:
            batch["input_ids"], batch["labels"] = self._mask(batch["input_ids"], batch["attention_mask"])
        if self.teacher_tokenizer is not None:
            teacher = self._pad([row[f"{TEACHER_PREFIX}input_ids"] for row in rows], self.teacher_tokenizer)
            batch |= {TEACHER_PREFIX + name: tensor for name, tensor in teacher.items()}
        return batch

    def _pad(self, ids: list[list[int]], tokenizer: PreTrainedTokenizerBase) -> dict[str, torch.Tensor]:
        columns = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
        padded = pad_rows(columns, tokenizer, self.pad_to_multiple_of, self.max_length)
        return {name: torch.from_numpy(array) for name, array in padded.items()}

    def _mask(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        special = torch.isin(input_ids, torch.tensor(self.tokenizer.all_special_ids))
        chosen = (torch.rand(input_ids.shape) < self.mlm_probability) & attention_mask.bool() & ~special
        labels = input_ids.masked_fill(~chosen, IGNORED)
        fate = torch.rand(input_ids.shape)
        masked = input_ids.masked_fill(chosen & (fate < 0.8), self.tokenizer.mask_token_id)
        other = torch.randint(len(self.tokenizer), input_ids.shape)
        return torch.where(chosen & (fate >= 0.9), other, masked), labels


logger = logging.getLogger(__name__)

_SENTENCE = re.compile(r"[^。！？!?；;\n]*[。！？!?；;\n]?")


@dataclass
class Corpus:
    """Passages to pretrain on.

    Attributes:
        passages: cleaned, each once.
        counts: by source, in the order they came: `texts`, `passages` cut from them, and why passages were left out
            (`equal` and `near` to held-out text, `repeated`, `blank`), and `kept`.
        evaluation_texts: different texts that the corpus was compared with.
    """

    passages: list[str]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    evaluation_texts: int = 0

    def total(self, name: str) -> int:
        """Sum a count over all sources."""
        return sum(counts[name] for counts in self.counts.values())


def build_corpus(
    sources: Iterable[str],
    evaluation: OverlapIndex,
    data_dir: str | None = None,
    cleaning: Cleaning | None = None,
    passage_length: int = 180,
    max_passages: int = 2,
) -> Corpus:
    """Load, clean and cut the sources, and leave out what repeats itself or a held-out text.

    Args:
        sources: files, `package:` names or Hub ids.
        evaluation: what must not be in the corpus.
        data_dir: folder that files are relative to.
        cleaning: cleaning switches; all of them on unless told.
        passage_length: characters of a passage at most; cuts fall between sentences where there are any.
        max_passages: of one text, evenly spread over it.

    Raises:
        InputError: no text is left.
    """
    cleaning = cleaning or Cleaning()
    corpus = Corpus([], evaluation_texts=len(evaluation))
    seen: set[str] = set()
    for source in sources:
        texts = load_texts(source, data_dir)
        counts = dict.fromkeys(("texts", "passages", "equal", "near", "repeated", "blank", "kept"), 0)
        counts["texts"] = len(texts)
        for text in tqdm(texts, desc=f"Reading {source}", unit="text"):
            # The whole text is compared as well as its passages: cutting must not hide a copy.
            whole = evaluation.match(matching_key(text))
            cleaned = clean(text, cleaning) if text else ""
            for passage in spread(passages(cleaned, passage_length), max_passages):
                counts["passages"] += 1
                key = matching_key(passage)
                reason = "equal" if whole == "equal" else evaluation.match(key)
                if not key:
                    reason = "blank"
                elif reason is None and key in seen:
                    reason = "repeated"
                if reason is None:
                    seen.add(key)
                    corpus.passages.append(passage)
                counts[reason or "kept"] += 1
        corpus.counts[source] = counts
        logger.info("%s: %s", source, ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    if not corpus.passages:
        found = ", ".join(f"{name} {corpus.total(name):,}" for name in ("texts", "equal", "near", "repeated", "blank"))
        raise InputError("text to learn from", f"none left after removal ({found})", "Add sources to `texts:`.")
    return corpus


def passages(text: str, length: int) -> Iterator[str]:
    """Cut a text into passages of at most `length` characters, between sentences where there are any.

    >>> list(passages("很好。不贵！下次再来", 6))
    ['很好。不贵！', '下次再来']
    """
    passage = ""
    for sentence in _SENTENCE.findall(text):
        for start in range(0, len(sentence), length):
            piece = sentence[start : start + length]
            if len(passage) + len(piece) > length:
                yield passage.strip()
                passage = ""
            passage += piece
    if passage.strip():
        yield passage.strip()


def spread(items: Iterable[str], limit: int) -> list[str]:
    """At most `limit` items, evenly spread, the first among them."""
    items = list(items)
    if len(items) <= limit:
        return items
    return [items[index * len(items) // limit] for index in range(limit)]
