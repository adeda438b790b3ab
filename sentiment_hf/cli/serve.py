"""`sentiment-hf serve`: serve a classifier over HTTP, with dynamic batching."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import socket

from sentiment_hf.cli.common import add_model_options
from sentiment_hf.utils.console import log_to_stderr
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

logger = logging.getLogger(__name__)
MAX_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser, required=False)
    add_address(parser, port=8000)
    text = "maximum batch size over concurrent requests; 1: no batching (default: 32)"
    parser.add_argument("--max_batch", type=int, default=32, metavar="N", help=text)
    text = "maximum milliseconds that a text waits for others (default: 2)"
    parser.add_argument("--max_wait_ms", type=float, default=2.0, metavar="MS", help=text)
    text = "maximum number of waiting texts; further requests get 503 and Retry-After (default: 1024)"
    parser.add_argument("--max_queue", type=int, default=1024, metavar="N", help=text)
    text = "maximum number of texts per request; more get 422 (default: 256)"
    parser.add_argument("--max_texts", type=int, default=256, metavar="N", help=text)
    text = "maximum size of a request in bytes; more get 413 (default: 1000000)"
    parser.add_argument("--max_body_bytes", type=int, default=1_000_000, metavar="N", help=text)


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; 0.0.0.0: all (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=port, metavar="N", help=f"port; 0: any free one (default: {port})")


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.inference.predictor import SentimentClassifier
    from sentiment_hf.modeling.names import STARTER_REVIEWS
    from sentiment_hf.serving.batching import BatchLimits

    log_to_stderr()
    try:
        import uvicorn

        from sentiment_hf.serving.api import RequestLimits, build_api
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "serve") from error
    batch = BatchLimits(args.max_batch, args.max_wait_ms, args.max_queue)
    limits = RequestLimits(args.max_texts, args.max_body_bytes)
    bound = bind(args.host, args.port)
    if args.model is None:
        logger.warning("no --model given: using %s, the review classifier included in the package", STARTER_REVIEWS)
    classifier = SentimentClassifier.from_pretrained(args.model or STARTER_REVIEWS, args.backend, args.provider)
    app = build_api(classifier, batch, limits)
    # Without a limit on the time that open requests have: what was accepted gets its response.
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))

    def stop(*_: object) -> None:
        server.should_exit = True

    # The server has a handler of its own while it runs, and raises the signal again when it has stopped; to us that is
    # the end that was asked for.
    signal.signal(signal.SIGTERM, stop)
    # From here on clients are kept waiting rather than refused.
    bound.listen(server.config.backlog)
    host, port = bound.getsockname()[:2]
    logger.info("%s on %s: http://%s:%d/docs", classifier.backend, ", ".join(classifier.providers), host, port)
    leave_to_the_end()
    server.run(sockets=[bound])
    traffic = app.state.traffic
    logger.info("stopped: %d requests accepted, %d completed", traffic.accepted, traffic.responded)
    return 0


def leave_to_the_end() -> None:
    """Exclude all existing objects from garbage collection.

    Modules and model are hundreds of thousands of objects that live as long as the server. Looking through them took
    0.3 s every other second under load, for which all requests stood still.
    """
    gc.collect()
    gc.freeze()


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket to that address; port 0 takes a free one.

    Raises:
        InputError: no such port, or the address is taken, not one of this machine, or needs rights that we do not have.
    """
    if not 0 <= port <= MAX_PORT:
        raise InputError(f"a port from 0 to {MAX_PORT}", str(port), "--port 0 takes any that is free.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        remedy = "Choose another with --port, or --port 0 for any that is free."
        raise InputError(f"a free port at {host}:{port}", str(error), remedy) from None
    return bound
