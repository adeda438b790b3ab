"""Unlabelled text for pretraining: from any sources, cut into passages, without what a model is measured on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tqdm import tqdm

from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.data.decontamination import OverlapIndex
from sentiment_hf.data.matching import matching_key
from sentiment_hf.data.sources import load_texts
from sentiment_hf.exceptions import InputError

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
