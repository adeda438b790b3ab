"""`sentiment-hf push`: upload a finished run to the Hub, with its model card."""

from __future__ import annotations

import argparse

from sentiment_hf.utils.console import log_to_stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("repo_id", metavar="USER/MODEL", help="repository, created if it does not exist")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--space", action="store_true", help="also push the demo page as a Space, pinned to this revision"
    )
    text = "open a pull request instead of committing to main"
    parser.add_argument("--create_pr", action="store_true", help=text)
    text = "licence of the weights, as named on the Hub: apache-2.0, mit, … (default: that of the recipe)"
    parser.add_argument("--license", metavar="NAME", help=text)
    text = "other runs to add to the card's score table, such as those of the other protocol"
    parser.add_argument("--compare", nargs="+", default=[], metavar="RUN", help=text)
    text = "page of `sentiment-hf sweep report` to upload, with its pictures and example texts"
    parser.add_argument("--findings", metavar="FILE.md", help=text)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.publishing.push import PushOptions, push_run, show_pushed

    log_to_stderr()
    options = PushOptions(args.private, args.space, args.create_pr, args.license, tuple(args.compare), args.findings)
    show_pushed(*push_run(args.run, args.repo_id, options))
    return 0
