"""Atomic file writing: a reader sees the old content or the new, never a mix."""

from __future__ import annotations

import glob
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any

from sentiment_hf.utils.exceptions import InputError

# Process numbers say something on one machine alone; folders are shared between several.
_STAGING, _PARTIAL = ".staging-", ".partial"
# Files that are whole and about to replace those of the folder that they lie in.
REPLACEMENT = f"{_STAGING}replacement"
_OWN_STAGING = f"{_STAGING}{platform.node()}-"


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step; lone surrogates, which no file can hold, become question marks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + _PARTIAL)
    try:
        partial.write_text(text, encoding="utf-8", errors="replace")
        os.replace(partial, path)
    except BaseException:
        # A disk that is full already keeps no half of it.
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; Chinese stays readable."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Yield a folder beside the files of `target`, gone at the end whatever happens; move out of it what is to stay.

    A process that is killed leaves its folder behind; the next one on this machine removes it.
    """
    target.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    staging = Path(mkdtemp(prefix=f"{_OWN_STAGING}{os.getpid()}-", dir=target))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _remove_abandoned(target: Path) -> None:
    for folder in target.glob(f"{glob.escape(_OWN_STAGING)}*"):
        process = folder.name.removeprefix(_OWN_STAGING).partition("-")[0]
        if process.isdigit() and int(process) != os.getpid() and not _is_running(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Somebody else's, or a number that no process can have: whatever it is, it is not touched.
        return True
    return True


def contents(folder: Path) -> list[Path]:
    """List what a folder holds, sorted, but for what processes that were killed left of their work; nothing where there
    is no folder."""
    if not folder.is_dir():
        return []
    items = sorted(folder.iterdir())
    return [item for item in items if not item.name.startswith(_STAGING) and item.suffix != _PARTIAL]


def check_empty(folder: Path) -> None:
    """Raise InputError where a folder that is to be filled holds something, or is a file."""
    found = ", ".join(item.name for item in contents(folder)[:5])
    if found or folder.is_file():
        remedy = "Choose another --output_dir, or remove this one."
        raise InputError(f"an empty folder at {folder}", found or "a file", remedy)


def move_files(source: Path, target: Path, last: str | None = None) -> None:
    """Move every file of a folder into another, replacing.

    The file named `last`, by which readers know a complete folder, goes last, and an older one of that name goes before
    the first, so that it never stands beside files of two ages.
    """
    if last is not None:
        (target / last).unlink(missing_ok=True)
    for item in sorted(source.iterdir(), key=lambda item: item.name == last):
        os.replace(item, target / item.name)


def replace_together(staging: Path, target: Path, last: str) -> None:
    """Replace files of a folder, and of folders in it, by the files of `staging`: all of them or none.

    A process that is killed before leaves the old files. One that is killed in the middle leaves a folder without the
    file named `last`, by which readers know a complete one, and `finish_replacing` puts the rest into place.
    """
    os.replace(staging, target / REPLACEMENT)
    finish_replacing(target, last)


def finish_replacing(target: Path, last: str) -> bool:
    """Go on with a `replace_together` that was cut off; whether there was one."""
    replacement = target / REPLACEMENT
    if not replacement.is_dir():
        return False
    if (replacement / last).is_file():
        (target / last).unlink(missing_ok=True)
    files = (path for path in replacement.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda path: (path == replacement / last, path)):
        os.replace(path, target / path.relative_to(replacement))
    shutil.rmtree(replacement)
    return True


@contextmanager
def held_alone(folder: Path) -> Iterator[bool]:
    """Whether this process is the only one that holds the folder; it is let go at the end, and by a process that dies.

    Where the system has no such locks, as Windows, everybody is told so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        yield lock(file)


def lock(file: IO[Any]) -> bool:
    """Whether an open file is this process's alone until it is closed; always so where there are no such locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def size_mb(*paths: Path) -> float:
    """Size of files on disk in MB (10**6 bytes)."""
    return sum(path.stat().st_size for path in paths) / 1e6
