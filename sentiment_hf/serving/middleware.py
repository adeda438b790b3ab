"""Middleware of the HTTP API: counts requests for Prometheus, refuses large bodies, notices clients that hang up."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PATHS = ("/predict", "/health", "/metrics")


class Traffic:
    """Counters of one application, in a registry of their own.

    Attributes:
        accepted: requests to `/predict` that the server began to read.
        responded: those among them whose response was sent, whatever its status.
    """

    def __init__(self) -> None:
        self.accepted = self.responded = 0
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sentiment_hf_requests", "HTTP requests by path and status", ("path", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "sentiment_hf_predict_seconds", "time of a request to /predict", buckets=SECONDS, registry=self._registry
        )
        self._batch_texts = Histogram(
            "sentiment_hf_batch_texts", "texts in a batch", buckets=BATCH_SIZES, registry=self._registry
        )
        self._batch_seconds = Histogram(
            "sentiment_hf_batch_seconds", "time in which a batch was read", buckets=SECONDS, registry=self._registry
        )
        self._dropped = Counter(
            "sentiment_hf_dropped_texts", "texts not read because their client hung up", registry=self._registry
        )
        self._waiting = Gauge("sentiment_hf_waiting_texts", "texts in the queue", registry=self._registry)

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Let the gauge of waiting texts read a queue."""
        self._waiting.set_function(waiting)

    def batch(self, texts: int, seconds: float) -> None:
        """Record how many texts a batch had, and in how many seconds it was read."""
        self._batch_texts.observe(texts)
        self._batch_seconds.observe(seconds)

    def texts_dropped(self, texts: int) -> None:
        """Count waiting texts whose client hung up."""
        self._dropped.inc(texts)

    def exposition(self) -> tuple[bytes, str]:
        """All figures in Prometheus' text format, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """ASGI middleware that counts the requests of `app`."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            # Paths that nobody serves would each make a series of their own.
            path = scope["path"] if scope["path"] in PATHS else "other"
            start = time.perf_counter()

            async def watched(message: Message) -> None:
                await send(message)
                if message["type"] == "http.response.start":
                    self._requests.labels(path, message["status"]).inc()
                elif not message.get("more_body", False) and path == "/predict":
                    self.responded += 1
                    self._seconds.observe(time.perf_counter() - start)

            if path == "/predict":
                self.accepted += 1
            await app(scope, receive, watched)

        return counted


# A client that sends first and reads later sees the response only if its body is taken in; so many times the limit is.
DISCARDED = 16


class BodyLimit:
    """ASGI middleware: reads the body of a request up to a limit, then hands it on in one piece.

    Args:
        app: gets requests whose body is at most `max_bytes` long.
        max_bytes: the limit, whether or not the client declares a length.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        length, more = 0, True
        while more and length <= DISCARDED * self._max_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            length += len(message.get("body", b""))
            if length <= self._max_bytes:
                body += message.get("body", b"")
            more = message.get("more_body", False)
        if length > self._max_bytes:
            found = f"{length:,}" if not more else f"more than {length:,}"
            detail = f"Expected a body of at most {self._max_bytes:,} bytes, found {found}. Send fewer texts at once."
            response = JSONResponse({"detail": detail}, 413, headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            if whole is None:
                return await receive()
            message, whole = whole, None
            return message

        await self._app(scope, replay, send)
