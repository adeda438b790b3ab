"""A lock that whoever waits gets before whoever had it just now."""

from __future__ import annotations

import threading
from types import TracebackType


class FairLock:
    """A lock for threads of which some come again and again, and some once.

    A plain lock goes to whichever thread is quickest, which is the one that has just released it: a file of many blocks
    would keep all sentences waiting. Here one waits at the lock and the others behind a door, the one that comes again
    among them.
    """

    def __init__(self) -> None:
        self._door, self._lock = threading.Lock(), threading.Lock()

    @property
    def is_awaited(self) -> bool:
        """Whether a thread is next in turn."""
        return self._door.locked()

    def __enter__(self) -> None:
        with self._door:
            self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
