"""Verbs that let other people ask a model: over HTTP and on a page."""

from __future__ import annotations

import argparse
from typing import Any

from sentiment_hf.cli_options.common import add_model_options


def add_service_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "a model over HTTP: POST /predict, /health, /metrics, described at /docs"
    serve = verbs.add_parser("serve", help=text, description=text)
    add_model_options(serve, required=False)
    _add_address(serve, port=8000)
    text = "texts of concurrent requests that go through the model together (32); 1: one at a time"
    serve.add_argument("--max_batch", type=int, default=32, metavar="N", help=text)
    text = "milliseconds that a text waits for others at most (2)"
    serve.add_argument("--max_wait_ms", type=float, default=2.0, metavar="MS", help=text)
    text = "texts that may wait; a request beyond them is answered with 503 and Retry-After (1024)"
    serve.add_argument("--max_queue", type=int, default=1024, metavar="N", help=text)
    text = "texts of one request; more are answered with 422 (256)"
    serve.add_argument("--max_texts", type=int, default=256, metavar="N", help=text)
    text = "bytes of one request; more are answered with 413 (1,000,000)"
    serve.add_argument("--max_body_bytes", type=int, default=1_000_000, metavar="N", help=text)
    serve.set_defaults(verb="serve")

    text = "a page to try models on, as the Space shows it: a sentence, an article, a restaurant review, a file"
    demo = verbs.add_parser("demo", help=text, description=text)
    add_model_options(demo, required=False)
    text = "for the article tab: a model of one label with sliding windows; default: MODEL, where it is one"
    demo.add_argument("--topics_model", metavar="PATH_OR_ID", help=text)
    text = "for the restaurant tab: a model of task aspects; default: MODEL, where it is one"
    demo.add_argument("--aspects_model", metavar="PATH_OR_ID", help=text)
    _add_address(demo, port=7860)
    demo.add_argument(
        "--share", choices=("yes", "no"), default="no", help="yes: also a public address, by gradio's servers"
    )
    demo.set_defaults(verb="demo")


def _add_address(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="127.0.0.1; 0.0.0.0 for every one")
    parser.add_argument("--port", type=int, default=port, metavar="N", help=f"{port}; 0: any that is free")
