"""The one error that users are meant to read: what was expected, what was found, and how to mend it."""

from __future__ import annotations

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


def exits_cleanly(main: Callable[P, int]) -> Callable[P, int]:
    """Let a program's `main` end in one sentence: an `InputError` with status 2, Ctrl-C with status 130."""

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
