"""Apply decisions about suspected label errors: drop them, relabel them, or write them to a csv for review."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pandas as pd

from sentiment_hf.tasks import Task
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.utils.exceptions import InputError

KEEP, DROP = "keep", "drop"
# Row (place in the frame), cell, and `drop` or a label name.
Decision = tuple[int, str, str]


def row_id(row: int, text: Any, label: Any) -> str:
    """Name a row in a review: its number counted from 1, and a digest by which a changed file is noticed."""
    digest = hashlib.sha256(f"{text}\n{label}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{row + 1}-{digest[:8]}"


def review_table(suspects: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Suspects for a person, in their order, with an empty `decision`.

    Args:
        suspects: rows of `find_suspects`.
        frame: the rows that they were found in.
    """
    texts, labels = frame["text"].tolist(), frame["label"].tolist()
    return pd.DataFrame(
        {
            "id": [row_id(row, texts[row], labels[row]) for row in suspects["row"]],
            "cell": suspects["cell"].tolist(),
            "text": [texts[row] for row in suspects["row"]],
            "given": suspects["given"].tolist(),
            "proposed": suspects["proposed"].tolist(),
            "p_given": suspects["p_given"].tolist(),
            "p_proposed": suspects["p_proposed"].tolist(),
            "score": suspects["score"].tolist(),
            "reason": suspects["reason"].tolist(),
            "decision": "",
        }
    )


def read_decisions(review: pd.DataFrame, frame: pd.DataFrame, task: Task, name: str) -> list[Decision]:
    """Read what a person decided, from a review as `review_table` wrote it.

    A decision is empty or `keep` (the label stands), `drop`, or a label name. Lines may be deleted; their rows stay as
    they are.

    Args:
        review: the table that was edited.
        frame: the rows that it was written of.
        task: knows the labels.
        name: of the file, for messages.

    Raises:
        InputError: no such columns, an id that the rows do not have or that comes twice, or an unknown decision.
    """
    for column in ("id", "cell", "decision"):
        if column not in review.columns:
            found = f"the columns {', '.join(map(str, review.columns))}"
            raise InputError(f"a column {column!r} in {name}", found, "Edit the file that --action review wrote.")
    known = {row_id(row, *values): row for row, values in enumerate(zip(frame["text"], frame["label"], strict=True))}
    seen: set[tuple[str, str]] = set()
    decisions: list[Decision] = []
    cells = review["cell"].fillna("").astype(str)
    for line, (given, cell, decision) in enumerate(zip(review["id"], cells, review["decision"], strict=True), start=1):
        if given not in known:
            remedy = "Leave the ids as they are, and review the file that was cleaned."
            raise InputError(f"ids of the training rows in {name}", f"{given!r} in row {line}", remedy)
        if (given, cell) in seen:
            raise InputError(f"each id once in {name}", f"{given!r} again in row {line}", "Delete one of the lines.")
        seen.add((given, cell))
        wanted = "" if pd.isna(decision) else str(decision).strip()
        names = _names(task, cell, name, line)
        if wanted not in ("", KEEP, DROP, *names):
            expected = f"a decision among {KEEP}, {DROP}, {', '.join(names)} or an empty one in {name}"
            raise InputError(expected, f"{wanted!r} in row {line}", "Fix it there.")
        if wanted not in ("", KEEP):
            decisions.append((known[given], cell, wanted))
    return decisions


def _names(task: Task, cell: str, name: str, line: int) -> tuple[str, ...]:
    # A row with one label has no cell to choose; what stands in the column is not looked at.
    names = {each.name: each.values for each in task.cells}
    wanted = "" if task.is_single_label else cell
    if wanted not in names:
        raise InputError(f"an aspect of the task in {name}", f"{cell!r} in row {line}", "Leave the column as it is.")
    return names[wanted]


def apply_decisions(frame: pd.DataFrame, decisions: Iterable[Decision], task: Task) -> pd.DataFrame:
    """Apply the decisions to the rows: relabel them, or leave out those dropped.

    Of a row with several labels, `drop` empties the one label, and a row that has none left goes.
    """
    labels = frame["label"].tolist()
    places = {cell.name: place for place, cell in enumerate(task.cells)}
    gone: set[int] = set()
    for row, cell, decision in decisions:
        place = places["" if task.is_single_label else cell]
        ids = task.references([labels[row]])[0].tolist()
        ids[place] = MISSING if decision == DROP else task.cells[place].id_of(decision)
        labels[row] = task.label_of(ids)
        if all(value == MISSING for value in ids):
            gone.add(row)
    kept = [row for row in range(len(frame)) if row not in gone]
    mended = frame.assign(label=pd.Series(labels, index=frame.index, dtype=object))
    return mended.iloc[kept].reset_index(drop=True)
