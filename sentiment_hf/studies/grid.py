"""Settings as a grid: one key across, all that else was varied downwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_hf.studies.load_runs import FoundSetting
from sentiment_hf.studies.sweep import as_word


@dataclass(frozen=True)
class Grid:
    """Every combination of one key's values and of the rest.

    Attributes:
        key: that runs across.
        values: of it, as words.
        rows: what the settings of a row have in common.
        cells: the settings, a list a row in the order of `values`.
    """

    key: str
    values: list[str]
    rows: list[str]
    cells: list[list[FoundSetting]]


def find_grid(settings: Sequence[FoundSetting]) -> Grid | None:
    """Find the grid that settings make, by the last key that can run across; None if there is none.

    A key can if every combination of the other keys was tried with each of its values, and there are two of each at
    least.
    """
    for key in reversed(list(settings[0].axes)):
        lines: dict[str, dict[str, FoundSetting]] = {}
        for setting in settings:
            lines.setdefault(setting.without(key), {})[as_word(setting.axes[key])] = setting
        values = list(dict.fromkeys(value for line in lines.values() for value in line))
        if min(len(lines), len(values)) > 1 and all(len(line) == len(values) for line in lines.values()):
            cells = [[line[value] for value in values] for line in lines.values()]
            return Grid(key, values, [_row_name(line[0], key) for line in cells], cells)
    return None


def _row_name(setting: FoundSetting, key: str) -> str:
    """Return the setting's name without this key."""
    own = f"{key}={as_word(setting.axes[key])}"
    words = " ".join(word for word in setting.name.split() if word != own)
    if words and words != setting.name:
        return words
    return " ".join(f"{name}={as_word(value)}" for name, value in setting.axes.items() if name != key)
