"""`sentiment-hf explain`: which words speak for a label, and which against it."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.data.tables import read_document
from sentiment_hf.evaluation.explanation_views import html_page, terminal_view
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import write_text
from sentiment_hf.modeling.names import STARTER_REVIEWS
from sentiment_hf.serving.explainer import Explainer

logger = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> int:
    log_to_stderr()
    if (args.text is None) == (args.file is None):
        found = "neither" if args.text is None else "both"
        raise InputError("a text or --file", found, "Give one of them.")
    text = args.text if args.file is None else read_document(args.file, args.encoding)
    if args.model is None:
        logger.warning("no --model: %s, the classifier of reviews that comes with the package", STARTER_REVIEWS)
    explainer = Explainer.from_pretrained(args.model or STARTER_REVIEWS, args.backend, args.provider)
    explanations = explainer.explain(text, args.method, args.label, args.aspect, args.top_chunks)
    if args.html:
        write_text(Path(args.html), html_page(explanations, f"Why? {args.method}"))
    if args.json:
        show(json.dumps([explanation.to_dict() for explanation in explanations], ensure_ascii=False))
        return 0
    for explanation in explanations:
        show(terminal_view(explanation))
    if not explanations:
        show("no aspect mentioned")
    if args.html:
        show(f"See {args.html}")
    return 0
