"""Many futures of another thread wake the event loop together, and none is forgotten."""

import asyncio
import threading
from concurrent.futures import Future

from sentiment_hf.serving.wakeups import Wakeups


def test_what_finishes_together_is_woken_with_one_call():
    async def wait():
        loop, wakeups, calls = asyncio.get_running_loop(), Wakeups(), []
        futures = [Future() for _ in range(50)]
        waiters = [wakeups.when_done(future) for future in futures]
        plain = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *words: (calls.append(words), plain(*words))
        # The loop is here, and can take none before all are there.
        for future in futures:
            future.set_result(None)
        loop.call_soon_threadsafe = plain
        await asyncio.wait_for(asyncio.gather(*waiters), 10)
        return len(calls)

    assert asyncio.run(wait()) == 1


def test_none_is_left_behind_whatever_happens_in_between():
    async def wait():
        wakeups = Wakeups()
        futures = [Future() for _ in range(2000)]
        waiters = [wakeups.when_done(future) for future in futures]
        futures[7].cancel()
        wakeups.wake(waiters[11])

        def finish():
            for future in futures:
                if future.set_running_or_notify_cancel():
                    future.set_result(None)

        thread = threading.Thread(target=finish)
        thread.start()
        woken = await asyncio.wait_for(asyncio.gather(*waiters), 20)
        # Also one that is done before anybody waits.
        await asyncio.wait_for(wakeups.when_done(futures[0]), 20)
        thread.join()
        return woken, [future.cancelled() for future in futures]

    woken, cancelled = asyncio.run(wait())
    assert woken == [None] * 2000
    assert [place for place, was in enumerate(cancelled) if was] == [7]
