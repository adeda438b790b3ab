"""Read rows from JSON: lists of objects, JSON lines, consecutive objects, pandas columns, Label Studio exports."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sentiment_hf.utils.exceptions import InputError

# JSON can spell half a surrogate pair, which is no character.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BETWEEN_VALUES = re.compile(r"[\s,]*")


def json_rows(text: str, name: str) -> list[dict[str, Any]]:
    """Parse the rows of a JSON file: a list of objects (also under `data`), objects that follow one another, or columns
    as pandas writes them (`{"text": {"0": …}}` or `{"text": […]}`).

    Raises:
        InputError: there are none.
        ValueError: the text is no JSON.
    """
    values = _values(text, name)
    rows: Any = values[0] if len(values) == 1 else values
    if isinstance(rows, dict) and isinstance(rows.get("data"), list):
        rows = rows["data"]
    if isinstance(rows, dict) and rows:
        rows = _rows_of_columns(rows)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"a list of objects in {name}", type(rows).__name__, "Write one object a row.")
    if rows and all(_is_label_studio(row) for row in rows):
        return [_of_label_studio(row, name) for row in rows]
    return rows


def parsed_line(line: str, number: int, name: str) -> dict[str, Any]:
    """Parse a line of a jsonl file as a row.

    Raises:
        InputError: it is no JSON object; the message has the number of the line.
    """
    try:
        row = _without_half_pairs(json.loads(line), line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"one JSON object a line in {name}", f"line {number}: {error}", "Fix it.") from None
    if not isinstance(row, dict):
        found = f"a {type(row).__name__} on line {number}"
        raise InputError(f"one JSON object a line in {name}", found, "Write one object a line.")
    return row


def _values(text: str, name: str) -> list[Any]:
    try:
        return [_without_half_pairs(json.loads(text), text)]
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
    values: list[Any] = []
    decoder, place = json.JSONDecoder(), _next_value(text, 0)
    while place < len(text):
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            found = f"line {error.lineno}: {error.msg}, after {len(values):,} of them"
            raise InputError(f"JSON objects one after another in {name}", found, "Fix the file there.") from None
        values.append(value)
        place = _next_value(text, place)
    return [_without_half_pairs(value, text) for value in values]


def _next_value(text: str, place: int) -> int:
    between = _BETWEEN_VALUES.match(text, place)
    return between.end() if between else place


def _without_half_pairs(value: Any, text: str) -> Any:
    """JSON, half surrogate pairs in it as question marks: neither tables nor files hold them."""
    if _SURROGATE.search(text) is None:
        return value
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8"))


def _rows_of_columns(columns: dict[str, Any]) -> Any:
    """Rows of `{column: {row: cell}}` or `{column: [cell]}`; anything else as it is."""
    cells = list(columns.values())
    if all(isinstance(column, dict) for column in cells) and all(column.keys() == cells[0].keys() for column in cells):
        return [{name: column[row] for name, column in columns.items()} for row in cells[0]]
    if all(isinstance(column, list) and len(column) == len(cells[0]) for column in cells):
        return [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]
    return columns


def _is_label_studio(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list)


def _of_label_studio(task: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Read a task of Label Studio's export: its data, and as `label` what its annotators chose, None where nobody did.

    Raises:
        InputError: they chose differently.
    """
    chosen: list[list[str]] = []
    for annotation in task["annotations"]:
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        values = [result.get("value") for result in annotation.get("result") or [] if isinstance(result, dict)]
        choices = [value["choices"] for value in values if isinstance(value, dict) and value.get("choices")]
        if len(choices) > 1:
            found = f"several questions answered in task {task.get('id')}"
            raise InputError(f"one choice a task in {name}", found, "Export one of them as CSV from Label Studio.")
        if choices and choices[0] not in chosen:
            chosen.append(choices[0])
    if len(chosen) > 1:
        found = f"{' and '.join(map(str, chosen))} for task {task.get('id')}"
        raise InputError(f"one choice a task in {name}", found, "Settle it in Label Studio, then export again.")
    labels = chosen[0] if chosen else [None]
    return {**task["data"], "label": labels[0] if len(labels) == 1 else labels}
