"""`LabelSpace`: maps the labels of a file to names and ids. All label lookups are here."""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from sentiment_hf.config.values import LABEL_VALUES
from sentiment_hf.losses import IGNORE_INDEX
from sentiment_hf.utils.exceptions import InputError

# How a file's labels are read: as raw values (what `labels:` maps from), or as the names that models predict.
AUTO, RAW, NAMES = LABEL_VALUES
# The id of no label; what torch's cross-entropy, too, calls a target that does not count.
MISSING = IGNORE_INDEX
# A column of files that this package writes: it says in every row how their labels are to be read.
MARK_COLUMN = "label_values"

# Zero-width characters and marks of direction; joiners are taken off the ends alone, within they make emoji.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_JOINERS = "\u200c\u200d"
_DIGITS = {ord("０") + digit: str(digit) for digit in range(10)}
_NUMBERS = _DIGITS | {ord("－"): "-", ord("−"): "-", ord("＋"): "+", ord("．"): "."}
_WHOLE = re.compile(r"([+-]?)(\d+)(?:\.0*)?", re.ASCII)
_ANY_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
# In a name a hyphen is a sign only where nothing stands before it.
_IN_NAME = re.compile(r"(?:(?<!\S)-)?\d+(?:\.\d+)?", re.ASCII)
# How programs write a missing value as text. `none` is not among them: sets of emotions have it as a class.
_NULLS = frozenset({"nan", "NaN", "NAN", "null", "NULL", "Null", "<NA>", "NaT", "#N/A"})
# So many labels are counted up in a message, and so many are written out in a command.
_SHOWN, _IN_COMMAND = 30, 12
# More different values than this, and on average less than two rows each: no classes.
_MANY, _MANY_FRACTIONS = 20, 5


def label_text(value: Any) -> str | None:
    """Convert a label to text, so that one label has one spelling: a csv's `1`, a JSON 1, `1.0` and `１` are the same.

    Outer white space, zero-width characters and the fraction of whole numbers go, full-width digits become ASCII,
    truth values `true` and `false`, and a list of one its only value.

    Returns:
        The text, or None where there is no label: None, NaN, an empty text or list.

    Raises:
        InputError: several labels, or an object.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, str):
        value = _structured(value)
    if isinstance(value, list | tuple | set | frozenset):
        values = list(value)
        if len(values) > 1:
            remedy = "One label a row is supported so far: keep the main one, or make one file for each label."
            raise InputError("one label a row", f"the list {_short(values)}", remedy)
        return label_text(values[0]) if values else None
    if isinstance(value, Mapping):
        remedy = "Write the label itself into the column, or name another column with --label_column."
        raise InputError("one label a row", f"the object {_short(dict(value))}", remedy)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if not isinstance(value, str) and text in _NULLS:
        # pandas' own missing values, which this file does not import: help has to be instant.
        return None
    text = _INVISIBLE.sub("", text).strip().strip(_JOINERS).strip().translate(_DIGITS)
    whole = _WHOLE.fullmatch(text.translate(_NUMBERS))
    if whole is not None:
        sign, digits = whole.groups()
        # Codes such as 01 keep their zeros.
        digits = digits if digits.strip("0") or len(digits) > 1 else "0"
        text = digits if sign != "-" or digits == "0" else f"-{digits}"
    elif text.lower() in ("true", "false"):
        text = text.lower()
    return text or None


def _structured(text: str) -> Any:
    """Parse a csv cell that once was a list or an object, as JSON or as Python writes it; return any other as it is."""
    if not text.strip().startswith(('["', "['", '{"', "{'", "[]")):
        return text
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value
    return text


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


@dataclass(frozen=True)
class LabelReading:
    """The labels of one file.

    Attributes:
        ids: one a row; None for a row without a label, or with one that is left out.
        read_as: `raw` or `names`.
        same: whether both readings give these ids, so that there was nothing to choose.
        counts: (label in the file, name, or None where it is left out) -> rows.
        unlabelled: rows without a label.
        left_out: rows whose label `labels:` maps to null.
    """

    ids: list[int | None]
    read_as: str
    same: bool
    counts: dict[tuple[str, str | None], int]
    unlabelled: int
    left_out: int

    def record(self) -> dict[str, Any]:
        """For records of what was read."""
        return {"labels_read_as": self.read_as, "unlabelled_rows": self.unlabelled, "rows_left_out": self.left_out}


@dataclass(frozen=True)
class LabelSpace:
    """Raw values, names and ids of a task's labels: one object, saved whole with every model.

    >>> space = LabelSpace.from_labels({"1": "bad", "2": "bad", "5": "good", "9": None})
    >>> space.read([5, "1.0", "", 9]).ids
    [1, 0, None, None]
    >>> space.read(["good", "bad"]).read_as
    'names'

    Attributes:
        names: label names in the order of their ids.
        raw: label in a file -> name, or None for rows that are left out.
        aliases: other ways to write a name, as 5 for `5 stars`.
    """

    names: tuple[str, ...]
    raw: Mapping[str, str | None] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        texts = [label_text(name) for name in self.names]
        twice = sorted({str(text) for text in texts if texts.count(text) > 1 or text is None})
        if twice:
            found = f"{', '.join(map(repr, twice))} more than once, or empty"
            raise InputError("label names that differ", found, "White space and zero-width characters do not count.")
        foreign = [name for name in (*self.raw.values(), *self.aliases.values()) if name not in (None, *self.names)]
        if foreign:
            raise InputError(f"labels among {', '.join(self.names)}", repr(foreign[0]), "Use one of these names.")

    @classmethod
    def from_labels(cls, labels: Mapping[Any, Any] | Sequence[Any]) -> Self:
        """Make the space that a recipe's `labels:` describes.

        Args:
            labels: raw value -> name (None: such rows are left out), or the names in the order of their ids. With names
                alone a file may also have ids in their place, unless a name is a number itself.

        Raises:
            InputError: a raw value with two names, a name that is no text, or no name.
        """
        raw: dict[str, str | None] = {}
        if not isinstance(labels, Mapping):
            names = [_name(label) for label in labels]
            raw = {name: name for name in names}
            if not any(_ANY_NUMBER.fullmatch(name) for name in names):
                raw |= {str(index): name for index, name in enumerate(dict.fromkeys(names))}
            return cls(tuple(dict.fromkeys(names)), raw)
        for value, name in labels.items():
            key = label_text(value)
            if key is None:
                remedy = "Rows without a label are left out by themselves: take the line out."
                raise InputError("raw values in `labels:`", "an empty one", remedy)
            named = None if name is None else _name(name)
            if raw.setdefault(key, named) != named:
                found = f"{raw[key]!r} and {named!r} for {key!r}"
                raise InputError("one name for each raw value in `labels:`", found, "1 and 1.0 are the same value.")
        return cls(tuple(dict.fromkeys(name for name in raw.values() if name is not None)), raw)

    @classmethod
    def from_rows(cls, values: Iterable[Any]) -> Self:
        """Take the labels of training rows as they stand: sorted, numbers by their size.

        Raises:
            InputError: values that hardly repeat, as scores or texts do.
        """
        counts = Counter(text for text in map(label_text, values) if text is not None and text not in _NULLS)
        _check_repeats(counts)
        numbers = all(_is_number(text) for text in counts)
        names = tuple(sorted(counts, key=float) if numbers else sorted(counts))
        return cls(names, {name: name for name in names})

    @classmethod
    def of_ids(cls, names: Sequence[str]) -> Self:
        """Make the space of a model from elsewhere, whose raw values are ids.

        Where each name has a number of its own in it ("1 star", "5 stars"), that number also stands for the name.
        """
        raw = {str(index): name for index, name in enumerate(names)}
        numbers = [_IN_NAME.findall(label_text(name) or "") for name in names]
        alone = [label_text(found[0]) for found in numbers if len(found) == 1]
        aliases = {}
        if len(alone) == len(set(alone)) == len(names):
            aliases = {str(number): name for number, name in zip(alone, names, strict=True)}
        return cls(tuple(names), raw, aliases)

    def with_raw(self, labels: Any) -> Self:
        """Give the space other raw values, as `--labels` of one file says.

        Raises:
            InputError: no mapping, or a name that the space does not have.
        """
        if not isinstance(labels, Mapping):
            raise InputError("a mapping {raw value: label name} for labels", _short(labels), "Write it as {1: name}.")
        given = type(self).from_labels(labels)
        own = {label_text(name): name for name in self.names}
        unknown = [name for name in given.names if name not in own]
        if unknown:
            raise InputError(f"labels among {', '.join(self.names)}", repr(unknown[0]), "Use one of these names.")
        raw = {value: None if name is None else own[name] for value, name in given.raw.items()}
        return type(self)(self.names, raw, self.aliases)

    def id_of(self, label: Any) -> int | None:
        """Find the id of one label that somebody names, as a name before a raw value; return None where there is no
        such label."""
        key = label_text(label)
        for entries in (self._by_name(), self.raw):
            name = None if key is None else _look_up(entries, {key})[0].get(key)
            if name is not None:
                return self.names.index(name)
        return None

    def read(
        self, values: Iterable[Any], label_values: str = AUTO, where: str = "the rows", training: bool = False
    ) -> LabelReading:
        """Read all labels of one file, one way.

        Args:
            values: the file's labels, one a row.
            label_values: `raw`, `names`, or `auto`: the one reading that knows every label.
            where: the file, for messages.
            training: whether raw values win where both readings know every label, as `labels:` of a recipe says;
                otherwise such a file is refused if the readings differ.

        Raises:
            InputError: an unknown label, two readings that differ, or several labels in a row (counted from 1).
        """
        if label_values not in LABEL_VALUES:
            raise InputError(f"label_values {' | '.join(LABEL_VALUES)}", repr(label_values), "Use one of these.")
        keys = _texts(values, where)
        counts = Counter(key for key in keys if key is not None)
        tables = {RAW: self.raw, NAMES: self._by_name()}
        found = {reading: _look_up(table, counts) for reading, table in tables.items()}
        # Words for a missing value are labels only where a label is called so.
        nulls = {key for key in counts if key in _NULLS and all(key in unknown for _, unknown in found.values())}
        for key in nulls:
            del counts[key]
        complete = [reading for reading, (_, unknown) in found.items() if not unknown - nulls]
        same = found[RAW][0] == found[NAMES][0]
        wanted = [reading for reading in complete if label_values in (AUTO, reading)]
        if not wanted:
            raise self._unknown(keys, counts, found, label_values, where)
        if len(wanted) == 2 and not same and not training:
            raise self._ambiguous(found, where)
        read_as = wanted[0]
        names = found[read_as][0]
        ids: dict[str | None, int] = {name: index for index, name in enumerate(self.names)}
        given = [None if key is None or key in nulls else names[key] for key in keys]
        unlabelled = sum(key is None or key in nulls for key in keys)
        return LabelReading(
            [None if name is None else ids[name] for name in given],
            read_as,
            same,
            {(key, names[key]): counts[key] for key in sorted(counts, key=lambda key: (ids.get(names[key], -1), key))},
            unlabelled,
            given.count(None) - unlabelled,
        )

    def to_dict(self) -> dict[str, Any]:
        """For a model's config, whose `id2label` holds the names."""
        return {"raw": dict(self.raw), "aliases": dict(self.aliases)}

    def describe(self) -> str:
        """Name the labels and what stands for each in a file, for a message: `negative (0, neg), positive (1, pos)`."""
        parts = []
        for name in self.names:
            own = [value for value, meant in (*self.raw.items(), *self.aliases.items()) if meant == name != value]
            parts.append(f"{name} ({', '.join(dict.fromkeys(own))})" if own else name)
        return ", ".join(parts[:_SHOWN]) + (f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else "")

    def _by_name(self) -> dict[str, str | None]:
        own: dict[str, str | None] = {str(label_text(name)): name for name in self.names}
        return {**self.aliases, **own}

    def _unknown(
        self,
        keys: list[str | None],
        counts: Counter[str],
        found: dict[str, tuple[dict[str, Any], set[str]]],
        label_values: str,
        where: str,
    ) -> InputError:
        readings = [label_values] if label_values != AUTO else [RAW, NAMES]
        best = min(readings, key=lambda reading: len(found[reading][1]))
        known, unknown = found[best]
        expected = f"labels among {self.describe()} in {where}"
        if label_values != AUTO:
            expected += f", read as {'raw values' if best == RAW else 'names'}"
        shown = ", ".join(f"{key} {counts[key]:,}" for key in list(counts)[:_SHOWN])
        more = f" and {len(counts) - _SHOWN} others" if len(counts) > _SHOWN else ""
        strange = next(key for key in counts if key in unknown)
        there = f"{strange!r} in row {keys.index(strange) + 1} (rows by label: {shown}{more})"
        pairs = [f"{json.dumps(key, ensure_ascii=False)}: {known.get(key) or 'NAME'}" for key in counts]
        command = ", ".join(pairs[:_IN_COMMAND]) + (", …" if len(pairs) > _IN_COMMAND else "")
        remedy = f"Say which is which, null leaves rows out: --labels '{{{command}}}'"
        return InputError(expected, there, remedy)

    def _ambiguous(self, found: dict[str, tuple[dict[str, Any], set[str]]], where: str) -> InputError:
        key = next(key for key, name in found[RAW][0].items() if found[NAMES][0][key] != name)
        raw, named = found[RAW][0][key], found[NAMES][0][key]
        return InputError(
            f"labels that can be read in one way in {where}",
            f"{key!r}, which is {raw!r} as a raw value and {named!r} as a name",
            "Say which: --label_values raw or --label_values names",
        )


def _name(value: Any) -> str:
    name = label_text(value)
    if name is None:
        raise InputError("label names in `labels:`", "an empty one", "Name it, or write null to leave such rows out.")
    return name


def _texts(values: Iterable[Any], where: str) -> list[str | None]:
    keys = []
    for row, value in enumerate(values, start=1):
        try:
            keys.append(label_text(value))
        except InputError as error:
            raise InputError(error.expected, f"{error.found} in row {row} of {where}", error.remedy) from None
    return keys


def _look_up(entries: Mapping[str, str | None], keys: Iterable[str]) -> tuple[dict[str, str | None], set[str]]:
    """Find what the keys stand for, and those that stand for nothing; case counts only where entries differ by it
    alone."""
    folded = Counter(key.casefold() for key in entries)
    by_case = {key.casefold(): name for key, name in entries.items() if folded[key.casefold()] == 1}
    known, unknown = {}, set()
    for key in keys:
        if key in entries:
            known[key] = entries[key]
        elif key.casefold() in by_case:
            known[key] = by_case[key.casefold()]
        else:
            unknown.add(key)
    return known, unknown


def _is_number(text: str) -> bool:
    return _ANY_NUMBER.fullmatch(text) is not None


def _check_repeats(counts: Counter[str]) -> None:
    rows, different = counts.total(), len(counts)
    if different * 2 <= rows:
        return
    fractions = any("." in text for text in counts)
    numbers = all(_is_number(text) for text in counts)
    if different > (_MANY_FRACTIONS if numbers and fractions else _MANY):
        found = f"{different:,} different {'numbers' if numbers else 'values'} in {rows:,} rows"
        question = "Is this a score?" if numbers else "Is this the label column?"
        remedy = f"{question} Name the column with --label_column, or the classes with `labels:`."
        raise InputError("labels that repeat", found, remedy)
