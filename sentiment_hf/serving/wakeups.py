"""From a thread that finishes work to the coroutines that wait for it, with one call for all that finish together."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any


class Wakeups:
    """Coroutines of one event loop that wait for futures of another thread.

    `asyncio.wrap_future` wakes the event loop for each future. A batch finishes dozens within microseconds; here the
    first of them wakes the loop, and the loop finds the others.
    """

    def __init__(self) -> None:
        self._ready: deque[asyncio.Future[None]] = deque()
        self._is_called = False

    def when_done(self, future: Future[Any]) -> asyncio.Future[None]:
        """To be awaited: it is done soon after `future` is, however that ended; called in the event loop."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        future.add_done_callback(lambda _: self._call(loop, waiter))
        return waiter

    def _call(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
        self._ready.append(waiter)
        # The loop forgets that it was called before it takes the first one: none is left behind, whenever it came.
        if not self._is_called:
            self._is_called = True
            loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._is_called = False
        while self._ready:
            self.wake(self._ready.popleft())

    @staticmethod
    def wake(waiter: asyncio.Future[None]) -> None:
        """Let whoever awaits `waiter` go on now; called in the event loop, as often as one likes."""
        if not waiter.done():
            waiter.set_result(None)
