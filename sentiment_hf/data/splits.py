"""Decide when two texts count as the same, and make validation and test splits from a training file."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any

import pandas as pd

from sentiment_hf.tasks.labels import label_text
from sentiment_hf.utils.exceptions import InputError

SPLIT_METHODS = ("stratified", "hash")


def split_rows(frame: pd.DataFrame, shares: dict[str, float], seed: int, method: str) -> dict[str, pd.DataFrame]:
    """Take held-out splits from a table.

    Args:
        frame: rows with `text` and `label`.
        shares: split name -> share of the rows, for example `{"test": 0.1, "validation": 0.1}`; the rest is `train`.
        seed: another seed gives another split.
        method: `stratified` keeps each label's share (up to rounding); `hash` looks at the text alone, so that any
            other program with the same seed knows which texts are held out without having the other rows.

    Returns:
        `train` and the splits named in `shares`, rows in their original order.

    Raises:
        InputError: an unknown method, shares that leave no training rows, or a split that would be empty.
    """
    if method not in SPLIT_METHODS:
        raise InputError(f"split_method {' | '.join(SPLIT_METHODS)}", repr(method), "Use one of these names.")
    if min(shares.values()) <= 0 or sum(shares.values()) >= 1:
        found = ", ".join(f"{split} {share}" for split, share in shares.items())
        raise InputError("held-out shares above 0 that add up to less than 1", found, "Choose smaller shares.")
    keys = pd.Series([matching_key(text) for text in frame["text"]], index=frame.index)
    names = keys.map(_by_hash(keys, shares, seed) if method == "hash" else _by_label(frame, keys, shares, seed))
    splits = {name: frame[names == name] for name in ("train", *shares)}
    for name, rows in splits.items():
        if rows.empty:
            remedy = "Give more rows, larger shares, or a file for this split."
            raise InputError(f"rows for the {name} split", f"none left of {len(frame)} rows", remedy)
    return splits


def held_out_split(key: str, shares: dict[str, float], seed: int) -> str:
    """Which split the `hash` method puts a text in, from its matching key alone."""
    fraction = text_fraction(key, seed)
    upper = 0.0
    for name, share in shares.items():
        upper += share
        if fraction < upper:
            return name
    return "train"


def _by_hash(keys: pd.Series, shares: dict[str, float], seed: int) -> dict[str, str]:
    return {key: held_out_split(key, shares, seed) for key in keys.unique()}


def _by_label(frame: pd.DataFrame, keys: pd.Series, shares: dict[str, float], seed: int) -> dict[str, str]:
    """Fill each label's quotas with whole groups of equal texts, in the order of their hashes."""
    groups = pd.DataFrame({"key": keys, "label": [label_text(label) for label in frame["label"]]})
    sizes = groups["key"].value_counts()
    first_label = groups.drop_duplicates("key").set_index("key")["label"]
    names: dict[str, str] = {}
    for _, group in first_label.groupby(first_label):
        ordered = sorted(group.index, key=lambda key: text_fraction(key, seed))
        total = int(sizes[ordered].sum())
        position = 0
        for name, share in shares.items():
            # A label with only a few rows still gets one into each held-out split if that leaves two for training.
            quota = max(round(total * share), 1 if len(ordered) > len(shares) + 1 else 0)
            taken = 0
            while taken < quota and position < len(ordered):
                names[ordered[position]] = name
                taken += int(sizes[ordered[position]])
                position += 1
        names.update((key, "train") for key in ordered[position:])
    return names


_NOT_WORD = re.compile(r"[\W_]+")


def matching_key(text: Any) -> str:
    """Letters, digits and Han characters of a text after NFKC and lower-casing.

    Two texts with the same key are the same text with other punctuation, spacing, case or width. Texts without any
    letter, and missing ones (None, NaN), share the empty key.
    """
    return _NOT_WORD.sub("", unicodedata.normalize("NFKC", text if isinstance(text, str) else "").lower())


def text_fraction(key: str, seed: int) -> float:
    """Map a key to a number in [0, 1) that depends on the key and the seed alone, evenly spread over keys."""
    digest = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
