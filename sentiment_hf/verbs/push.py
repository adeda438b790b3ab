"""`sentiment-hf push`: a finished run onto the Hub, with its card."""

from __future__ import annotations

import argparse

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.publishing.push import PushOptions, push_run
from sentiment_hf.publishing.repository import Pushed


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    options = PushOptions(args.private, args.space, args.create_pr, args.license, tuple(args.compare))
    show_pushed(*push_run(args.run, args.repo_id, options))
    return 0


def show_pushed(model: Pushed, space: Pushed | None) -> None:
    """Say what a push did."""
    for pushed in (model, space):
        if pushed is None:
            continue
        if not pushed.changed:
            show(f"{pushed.url} already holds all of it, revision {pushed.revision}")
        else:
            show(f"{len(pushed.changed)} files pushed to {pushed.url}, revision {pushed.revision}")
