"""Verbs that bring a model to people."""

from __future__ import annotations

import argparse
from typing import Any


def add_publishing_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    text = "a finished run onto the Hub: weights, ONNX files, records and a model card, in one commit"
    push = verbs.add_parser("push", help=text, description=text)
    push.add_argument("run", metavar="RUN", help="folder of a finished run")
    push.add_argument("repo_id", metavar="USER/MODEL", help="repository; made if there is none")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    push.add_argument("--space", action="store_true", help="push the page as a Space, too, pinned to this revision")
    text = "open a pull request in place of a commit to main"
    push.add_argument("--create_pr", action="store_true", help=text)
    text = "licence of the weights, as the Hub names it (apache-2.0, mit, …); default: the recipe's"
    push.add_argument("--license", metavar="NAME", help=text)
    text = "other runs of the task for the card's score table, for example of the other protocol"
    push.add_argument("--compare", nargs="+", default=[], metavar="RUN", help=text)
    text = "a page of `sentiment-hf findings`, which goes along with its pictures and the texts that it shows"
    push.add_argument("--findings", metavar="FILE.md", help=text)
    push.set_defaults(verb="push")
