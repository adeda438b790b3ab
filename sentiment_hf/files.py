"""Writing files so that a reader finds the old content or the new, never half of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; Chinese stays readable."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """A folder beside the files of `target`, gone at the end whatever happens; move out of it what is to stay."""
    target.mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(prefix=".staging-", dir=target))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def move_files(source: Path, target: Path, last: str | None = None) -> None:
    """Move every file of a folder into another, replacing; the file named `last`, by which readers know a complete
    folder, goes last."""
    for item in sorted(source.iterdir(), key=lambda item: item.name == last):
        os.replace(item, target / item.name)


@contextmanager
def held_alone(folder: Path) -> Iterator[bool]:
    """Whether this process is the only one that holds the folder; it is let go at the end, and by a process that dies.

    Where the system has no such locks, as Windows, everybody is told so.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def size_mb(*paths: Path) -> float:
    """Size of files on disk in MB (10**6 bytes)."""
    return sum(path.stat().st_size for path in paths) / 1e6
