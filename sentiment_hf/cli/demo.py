"""`sentiment-hf demo`: run the demo page on this machine."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
import warnings

from sentiment_hf.cli.common import add_model_options
from sentiment_hf.cli.serve import add_address, bind
from sentiment_hf.utils.console import log_to_stderr, show

logger = logging.getLogger(__name__)
TABS = {
    "article": "--topics_model, a model of one label with sliding windows",
    "review": "--aspects_model, a model of task aspects",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser, required=False)
    text = "article tab: single-label model with sliding windows (default: --model, if it is one)"
    parser.add_argument("--topics_model", metavar="PATH_OR_ID", help=text)
    text = "restaurant tab: model trained with task: aspects (default: --model, if it is one)"
    parser.add_argument("--aspects_model", metavar="PATH_OR_ID", help=text)
    add_address(parser, port=7860)
    parser.add_argument(
        "--share", choices=("yes", "no"), default="no", help="also create a public gradio link (default: no)"
    )


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.modeling.names import STARTER_REVIEWS

    log_to_stderr()
    # Before gradio is imported: it reads this once.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Gradio's own deprecation warnings do not concern the user.
    warnings.filterwarnings("ignore", module="gradio")
    from sentiment_hf.serving.page.app import launch_page
    from sentiment_hf.serving.page.models import PageModels

    # The port is asked for before the models are loaded, which takes longer.
    with bind(args.host, args.port) as bound:
        port = bound.getsockname()[1]
    if args.model is None:
        logger.warning("no --model given: using %s, the review classifier included in the package", STARTER_REVIEWS)
    models = PageModels.load(
        args.model or STARTER_REVIEWS, args.topics_model, args.aspects_model, args.backend, args.provider
    )
    for tab, option in TABS.items():
        if getattr(models, tab) is None:
            logger.info("no tab for %s: it needs %s", tab, option)
    address, page = launch_page(
        models,
        server_name=args.host,
        server_port=port,
        share=args.share == "yes",
        quiet=True,
        prevent_thread_lock=True,
    )
    # An event in place of an exception, which Python drops where it reaches a destructor: the page would stay.
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    show(f"Open {address} (English: {address.rstrip('/')}/en). Ctrl-C ends it.")
    ended.wait()
    # A second Ctrl-C does not wait for visitors.
    for number, handler in before.items():
        signal.signal(number, handler)
    page.close(verbose=False)
    return 0
