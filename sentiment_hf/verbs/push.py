"""`sentiment-hf push`: a finished run onto the Hub, with its card."""

from __future__ import annotations

import argparse

from sentiment_hf.console import log_to_stderr
from sentiment_hf.publishing.push import PushOptions, push_run, show_pushed


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    options = PushOptions(args.private, args.space, args.create_pr, args.license, tuple(args.compare), args.findings)
    show_pushed(*push_run(args.run, args.repo_id, options))
    return 0
