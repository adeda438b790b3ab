"""Requests whose body is too large get status 413 before anyone parses them."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
