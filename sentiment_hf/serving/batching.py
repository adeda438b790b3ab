"""Dynamic batching: one thread runs the texts of concurrent requests together."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from sentiment_hf.config.values import check_positive
from sentiment_hf.tasks import AnyPrediction, Prediction
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)


class QueueFullError(RuntimeError):
    """More texts wait than the queue takes; nothing of the request was accepted."""


class ClosedError(RuntimeError):
    """The batcher takes no more texts."""


@dataclass(frozen=True)
class BatchLimits:
    """How texts are gathered.

    Attributes:
        max_batch: texts that go through the model together; 1 reads them one at a time.
        max_wait_ms: how long the first text of a batch waits for others, in milliseconds.
        max_queue: texts that may wait, those being read aside.

    Raises:
        InputError: a limit that is out of range.
    """

    max_batch: int = 32
    max_wait_ms: float = 2.0
    max_queue: int = 1024

    def __post_init__(self) -> None:
        check_positive("max_batch", self.max_batch)
        check_positive("max_queue", self.max_queue)
        if self.max_wait_ms < 0:
            raise InputError("max_wait_ms of at least 0", str(self.max_wait_ms), "2 is the default.")


@dataclass(frozen=True)
class _Item:
    text: str
    top_k: int
    prediction: Future[AnyPrediction]


# `(texts, top_k)` -> a prediction each.
Classify = Callable[[list[str], int], list[AnyPrediction]]
# Called after each batch with its number of texts and the seconds it took.
Observe = Callable[[int, float], None]


class Batcher:
    """One thread around a classifier: whatever waits when it is free goes through the model together.

    Texts of several requests share a batch, and a request of many texts may be spread over several. A text whose
    caller has gone (a cancelled future) is dropped before it is read.

    Args:
        classify: called by the one thread alone.
        limits: how texts are gathered.
        observe: told of each batch.
    """

    def __init__(self, classify: Classify, limits: BatchLimits, observe: Observe | None = None) -> None:
        self._classify, self.limits, self._observe = classify, limits, observe
        # None, the last thing in it, ends the thread.
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Texts in the queue."""
        return self._queue.qsize()

    @property
    def is_working(self) -> bool:
        """Whether texts are taken and read."""
        return not self._closed and self._thread.is_alive()

    def submit(self, texts: Sequence[str], top_k: int) -> list[Future[AnyPrediction]]:
        """Queue the texts of one request, all or none.

        Args:
            texts: of one caller.
            top_k: labels that each prediction lists at most.

        Returns:
            A future each, in order. Cancel those whose predictions nobody waits for any more.

        Raises:
            QueueFullError: they do not fit into the queue.
            ClosedError: the batcher was closed.
        """
        items = [_Item(text, top_k, Future()) for text in texts]
        with self._lock:
            if self._closed:
                raise ClosedError
            # More texts than the queue ever takes are taken while nothing waits.
            if self.waiting and self.waiting + len(items) > self.limits.max_queue:
                raise QueueFullError
            for item in items:
                self._queue.put(item)
        return [item.prediction for item in items]

    def close(self) -> None:
        """Take no more texts, and return when all those taken are predicted."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            batch, is_last = self._gather()
            items = [item for item in batch if item.prediction.set_running_or_notify_cancel()]
            if items:
                start = time.perf_counter()
                self._predict(items)
                if self._observe is not None:
                    self._observe(len(items), time.perf_counter() - start)
            if is_last:
                return

    def _gather(self) -> tuple[list[_Item], bool]:
        """Gather the next batch, and tell whether the batcher ends after it."""
        item = self._queue.get()
        batch: list[_Item] = []
        deadline = time.monotonic() + self.limits.max_wait_ms / 1000
        while item is not None:
            batch.append(item)
            if len(batch) >= self.limits.max_batch:
                return batch, False
            try:
                item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return batch, False
        return batch, True

    def _predict(self, items: list[_Item]) -> None:
        top_k = max(item.top_k for item in items)
        try:
            predictions = self._classify([item.text for item in items], top_k)
        except Exception as error:
            if len(items) > 1:
                # Whichever text it was, its neighbours have done nothing wrong.
                for item in items:
                    self._predict([item])
                return
            logger.exception("a text of %d characters could not be classified", len(items[0].text))
            items[0].prediction.set_exception(error)
            return
        for item, prediction in zip(items, predictions, strict=True):
            if isinstance(prediction, Prediction) and len(prediction.top) > item.top_k:
                # The batch was asked for the longest list that one of them wants.
                prediction = replace(prediction, top=prediction.top[: item.top_k])  # noqa: PLW2901
            item.prediction.set_result(prediction)
