"""The list of small wrong changes: what each one breaks, where, and which tests ought to see it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANGES = Path(__file__).parent / "changes"
KEYS = {"what", "file", "old", "new", "tests", "before", "survives"}


@dataclass(frozen=True)
class Change:
    """One wrong change.

    Attributes:
        kind: the file of the list, a heading of the table.
        what: what is wrong then, in words; the name of the change.
        file: relative to the root.
        old: a piece of that file, which stands in it once.
        new: what takes its place.
        tests: node ids of the tests that ought to see it.
        before: False where no test saw it when the list was begun.
        survives: for a change that no test can see, why.
    """

    kind: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    before: bool = True
    survives: str | None = None

    def apply(self, root: Path) -> str:
        """The file with the change, and without it.

        Raises:
            ValueError: the piece does not stand there exactly once.
        """
        source = (root / self.file).read_text(encoding="utf-8")
        if (count := source.count(self.old)) != 1:
            raise ValueError(f"{self.what!r}: what it changes stands in {self.file} {count} times, not once")
        return source.replace(self.old, self.new)


def read_changes(folder: Path = CHANGES) -> list[Change]:
    """All changes, by kind and in the order of their files.

    Raises:
        ValueError: an unknown key, or two changes of one name.
    """
    changes = []
    for path in sorted(folder.glob("*.toml")):
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
        for entry in listed["change"]:
            if unknown := entry.keys() - KEYS:
                raise ValueError(f"{path.name}: unknown {', '.join(sorted(unknown))}")
            changes.append(Change(listed["kind"], **{**entry, "tests": tuple(entry["tests"])}))
    names = [change.what for change in changes]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"listed twice: {', '.join(sorted(twice))}")
    return changes
