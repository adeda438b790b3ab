"""`InputError`, the error for users: what was expected, what was found, and how to fix it."""

from __future__ import annotations

import errno
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

EXIT_STATUS = 2
# What shells report for a program that Ctrl-C ended.
INTERRUPTED_STATUS = 130


class InputError(ValueError):
    """Input that the library cannot work with.

    Args:
        expected: what would have worked, as a noun phrase.
        found: what was there instead.
        remedy: how to mend it, as a sentence.
    """

    def __init__(self, expected: str, found: str, remedy: str) -> None:
        self.expected, self.found, self.remedy = expected, found, remedy
        super().__init__(f"Expected {expected}, found {found}. {remedy}")


class MissingExtraError(ImportError):
    """A backend that is not installed; the message is the pip command that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed. Install it with: pip install 'sentiment_hf[{extra}]'")


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Within it Ctrl-C waits for the next call of the function that it yields, which raises KeyboardInterrupt.

    Python raises in the middle of whatever runs, also of a write or of a destructor, where it is swallowed and the
    program runs on. A second Ctrl-C does not wait. Outside the main thread, which alone gets signals, nothing changes.
    """
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


_NO_ROOM = "a full disk", "Make room there, then start the same command again."
_TOO_LARGE = "a limit on the size of files", "Raise it (ulimit -f), then start the same command again."
_READ_ONLY = "a place that takes no writing", "Choose a folder of your own for the output."
_FORBIDDEN = "no permission", "Choose a folder of your own, or ask for the right to use this one."
_NO_FOLDER = "a file where a folder would have to be, or the other way round", "Choose another path."
_BAD_NAME = "a name that no file can have", "Choose a shorter one of usual characters."
# What the operating system says of a place, by its number, and by the words that libraries repeat without it.
_BY_NUMBER = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _TOO_LARGE,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EISDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.ENAMETOOLONG: _BAD_NAME,
}
_BY_WORDS = {
    "No space left on device": _NO_ROOM,
    "Disk quota exceeded": _NO_ROOM,
    "File too large": _TOO_LARGE,
    "Read-only file system": _READ_ONLY,
    "Permission denied": _FORBIDDEN,
    "embedded null": _BAD_NAME,
    # torch does not say why its writer failed; it fails where no more bytes are taken.
    "PytorchStreamWriter failed": _NO_ROOM,
    "inline_container.cc": _NO_ROOM,
}


def storage_error(error: BaseException) -> InputError | None:
    """Turn an error that a disk or a path is the reason of, directly or behind others, into the sentence that says so.

    Returns:
        None where the reason is another one.
    """
    seen: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and behind not in seen:
        said = _BY_NUMBER.get(behind.errno or 0) if isinstance(behind, OSError) else None
        said = said or next((reason for words, reason in _BY_WORDS.items() if words in str(behind)), None)
        if said is not None:
            name = behind.filename if isinstance(behind, OSError) else None
            return InputError(f"a place to write to{'' if name is None else f' at {name}'}", *said)
        seen.append(behind)
        behind = behind.__cause__ or behind.__context__
    return None


def exits_cleanly(main: Callable[P, int]) -> Callable[P, int]:
    """Let a program's `main` end in one sentence: an `InputError` and a full or read-only disk with status 2, Ctrl-C
    with status 130."""

    @wraps(main)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except (InputError, MissingExtraError) as error:
            sys.stderr.write(f"error: {error}\n")
            return EXIT_STATUS
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            return INTERRUPTED_STATUS
        except Exception as error:
            said = storage_error(error)
            if said is None:
                raise
            sys.stderr.write(f"error: {said}\n")
            return EXIT_STATUS

    return wrapper


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let `kill` end a program as Ctrl-C does: what is under way is kept, and no child is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
