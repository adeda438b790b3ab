"""Find shortcuts: tokens that predict the label almost alone, so that a model learns little else.

In weibo_senti_100k, for one, the emoticons that the rows were collected by are the labels.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import emoji
import pandas as pd

from sentiment_hf.tasks.labels import label_text

# Marks that are no words: few rows of a label have to have one for it to count.
_MARKS = {
    "emoticon": re.compile(r"\[[^\[\]\s]{1,8}\]"),
    "hashtag": re.compile(r"#[^#\s][^#\n]{0,38}#"),
    "url": re.compile(r"https?://[\w.\-]+"),
    "mention": re.compile(r"@[\w\-]{2,30}"),
}
_ANY_MARK = re.compile("|".join(pattern.pattern for pattern in _MARKS.values()))
MIN_PRECISION = 0.95
MARK_RECALL, TEXT_RECALL, MIN_ROWS = 0.01, 0.6, 10
# Standard deviations by which a token's precision exceeds the share of its label: none of thousands does so by chance.
_MIN_DEVIATIONS = 4.5
_LONGEST = 12
# Of a long text its beginning: what its source put there is there.
_CHARACTERS = 1000
MAX_SHORTCUTS = 20


def find_shortcuts(frame: pd.DataFrame) -> dict[str, Any]:
    """Tokens that nearly alone tell the label.

    An emoticon, hashtag, address, mention or emoji is one if at least 1 % of a label's rows, and ten, have it and 95 %
    of the rows with it have that label; any other run of characters, words among them, if 60 % of a label's rows have
    it.

    Args:
        frame: rows with `text` and raw `label`.

    Returns:
        `tokens`, of each `token`, `kind`, `label`, `rows`, `share` (of all rows), `recall` (share of the label's rows)
        and `precision` (share of the rows with it that have the label), those with the most rows first; `share` of all
        rows that have one of these at least, and of them the `precision` of telling the label by it.
    """
    known = [
        (text[:_CHARACTERS] if isinstance(text, str) else "", label)
        for text, label in zip(frame["text"], map(label_text, frame["label"]), strict=True)
        if label is not None
    ]
    texts, labels = [text for text, _ in known], [label for _, label in known]
    of_label = Counter(labels)
    found = _given_away(_marks_by_row(texts), labels, of_label, MARK_RECALL)
    found += _given_away(_frequent_runs(texts, labels, of_label), labels, of_label, TEXT_RECALL)
    found.sort(key=lambda shortcut: -shortcut[4])
    tokens: list[dict[str, Any]] = [
        {
            "token": token,
            "kind": kind,
            "label": label,
            "rows": rows,
            "share": round(rows / len(labels), 4),
            "recall": round(right / of_label[label], 4),
            "precision": round(right / rows, 4),
        }
        for kind, token, label, right, rows in found[:MAX_SHORTCUTS]
    ]
    told = [next((token["label"] for token in tokens if token["token"] in text), None) for text in texts]
    covered = sum(label is not None for label in told)
    right = sum(guess == label for guess, label in zip(told, labels, strict=True))
    return {
        "tokens": tokens,
        "share": round(covered / max(len(labels), 1), 4),
        "precision": round(right / covered, 4) if covered else None,
    }


_Found = tuple[str, str, str, int, int]


def _given_away(
    tokens_by_row: Iterable[Iterable[tuple[str, str]]], labels: list[str], of_label: Counter[str], min_recall: float
) -> list[_Found]:
    """Tokens with a kind, a label, the rows with both and the rows in all."""
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for tokens, label in zip(tokens_by_row, labels, strict=True):
        for token in tokens:
            counts[token][label] += 1
    found: list[_Found] = []
    for (kind, name), by_label in counts.items():
        label, right = by_label.most_common(1)[0]
        rows, base = by_label.total(), of_label[label] / len(labels)
        deviations = (right / rows - base) * (rows / max(base * (1 - base), 1e-9)) ** 0.5
        is_clear = deviations >= _MIN_DEVIATIONS and 1 - right / rows <= (1 - base) / 4
        if right >= MIN_PRECISION * rows and right >= max(min_recall * of_label[label], MIN_ROWS) and is_clear:
            found.append((kind, name, label, right, rows))
    # A part that comes in the longer one alone is no token of its own, and one with more around it no other.
    found = [
        one
        for one in found
        if not any(one[1] != other[1] and one[1] in other[1] and one[4] <= 1.02 * other[4] for other in found)
    ]
    return [one for one in found if not any(one[1] != other[1] and other[1] in one[1] for other in found)]


def _marks_by_row(texts: list[str]) -> Iterator[set[tuple[str, str]]]:
    for text in texts:
        marks = {(kind, mark) for kind, pattern in _MARKS.items() for mark in pattern.findall(text)}
        if not text.isascii():
            marks |= {("emoji", found["emoji"]) for found in emoji.emoji_list(text)}
        yield marks


def _frequent_runs(texts: list[str], labels: list[str], of_label: Counter[str]) -> list[set[tuple[str, str]]]:
    """Of each row the runs of characters that many of some label's rows have: longer ones are made of these alone."""
    bare = [_ANY_MARK.sub("\n", text) for text in texts]
    kept: list[set[tuple[str, str]]] = [set() for _ in bare]
    starts: list[set[int]] = [set(range(len(text))) for text in bare]
    for length in range(1, _LONGEST + 1):
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        runs = []
        for text, places, label in zip(bare, starts, labels, strict=True):
            row: defaultdict[str, list[int]] = defaultdict(list)
            for place in places:
                run = text[place : place + length]
                # The run that begins one later was frequent as well.
                if (
                    len(run) == length
                    and not run.isspace()
                    and "\n" not in run
                    and (length == 1 or place + 1 in places)
                ):
                    row[run].append(place)
            runs.append(row)
            for run in row:
                counts[run][label] += 1
        frequent = {
            run
            for run, by_label in counts.items()
            if any(rows >= TEXT_RECALL * of_label[label] for label, rows in by_label.items())
        }
        if not frequent:
            break
        for place, row in enumerate(runs):
            kept[place] |= {("text", run) for run in row if run in frequent}
            starts[place] = {start for run, found in row.items() if run in frequent for start in found}
    return kept
