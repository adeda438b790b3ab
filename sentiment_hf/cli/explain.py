"""`sentiment-hf explain`: word attributions for a prediction, and how faithful they are to the model."""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment_hf.cli.common import add_column_options, add_model_options
from sentiment_hf.config.values import EXPLANATIONS, OCCLUSION
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import write_json, write_text

if TYPE_CHECKING:
    from rich.table import Table

    from sentiment_hf.explain.explainer import Explainer

logger = logging.getLogger(__name__)

# They belong to --faithfulness alone, and are None where they are not given.
FAITHFULNESS_OPTIONS = ("data", "rows", "methods", "seed", "output", "text_column", "label_column", "labels")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser, required=False)
    parser.add_argument("text", nargs="?", metavar="TEXT", help="text to explain")
    parser.add_argument("--file", metavar="FILE", help="text file to explain instead of TEXT, such as an article")
    text = "occlusion works on every backend, the others need torch; attention is exploratory (default: occlusion)"
    parser.add_argument("--method", choices=EXPLANATIONS, default="occlusion", help=text)
    parser.add_argument("--label", metavar="LABEL", help="label to explain (default: the predicted one)")
    parser.add_argument(
        "--aspect", metavar="ASPECT", help="aspect models: aspect to explain (default: each that is mentioned)"
    )
    text = "long texts: number of chunks to explain, those with the highest scores for the label (default: 3)"
    parser.add_argument("--top_chunks", type=int, default=3, metavar="M", help=text)
    parser.add_argument("--html", metavar="FILE", help="also write a self-contained HTML page")
    parser.add_argument("--json", action="store_true", help="print JSON instead of coloured text")
    text = "comprehensiveness and sufficiency of the explanations, compared with a random order"
    group = parser.add_argument_group("faithfulness", text)
    group.add_argument(
        "--faithfulness", action="store_true", help="measure faithfulness on --data instead of explaining a text"
    )
    group.add_argument("--data", metavar="FILE", help="labelled file to sample texts from")
    group.add_argument("--rows", type=int, metavar="N", help="number of texts to sample (default: 200)")
    text = "methods to measure (default: all that the backend supports)"
    group.add_argument("--methods", nargs="+", choices=EXPLANATIONS, metavar="METHOD", help=text)
    group.add_argument(
        "--seed", type=int, metavar="N", help="random seed of the sample and of the random order (default: 42)"
    )
    group.add_argument("--output", metavar="FILE.json", help="also write the results as JSON")
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.data.tables import read_document
    from sentiment_hf.explain.explainer import Explainer
    from sentiment_hf.explain.explanation_views import html_page, terminal_view
    from sentiment_hf.modeling.names import STARTER_REVIEWS

    log_to_stderr()
    if args.faithfulness:
        return _measure_faithfulness(args)
    given = [f"--{name}" for name in FAITHFULNESS_OPTIONS if getattr(args, name) is not None]
    if given:
        raise InputError(f"--faithfulness with {given[0]}", f"{given[0]} alone", "Add it, or leave the option out.")
    if (args.text is None) == (args.file is None):
        found = "neither" if args.text is None else "both"
        raise InputError("a text or --file", found, "Give one of them.")
    text = args.text if args.file is None else read_document(args.file, args.encoding)
    if args.model is None:
        logger.warning("no --model given: using %s, the review classifier included in the package", STARTER_REVIEWS)
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


def _measure_faithfulness(args: argparse.Namespace) -> int:
    from sentiment_hf.data.audit import is_blank
    from sentiment_hf.data.labelled import ReadOptions, load_labelled, task_of_one_label
    from sentiment_hf.explain.explainer import Explainer
    from sentiment_hf.explain.faithfulness import summarize
    from sentiment_hf.modeling.names import STARTER_REVIEWS

    for name in ("text", "file", "label", "aspect", "html"):
        if getattr(args, name) is not None:
            raise InputError("--data alone with --faithfulness", f"{name} as well", "Leave it out.")
    if args.json:
        raise InputError("--output with --faithfulness", "--json", "--output FILE.json writes the figures.")
    if args.data is None:
        raise InputError("--data with --faithfulness", "none", "Name a labelled file.")
    size, seed = 200 if args.rows is None else args.rows, 42 if args.seed is None else args.seed
    if size < 2:
        raise InputError("rows of at least 2", str(size), "Take a hundred or more for a narrow interval.")
    model = args.model or STARTER_REVIEWS
    explainer = Explainer.from_pretrained(model, args.backend, args.provider)
    task_of_one_label(explainer.task, "`explain` takes its aspects one by one.")
    methods = list(dict.fromkeys(args.methods or (EXPLANATIONS if explainer.model is not None else [OCCLUSION])))
    for method in methods:
        explainer.check_method(method)
    rows = load_labelled(args.data, explainer.task, ReadOptions.from_args(args))
    rows = rows[~rows["text"].map(is_blank)]
    if len(rows) < 2:
        raise InputError(f"texts in {args.data}", f"{len(rows)} that are not blank", "Check the text column.")
    texts = rows["text"].sample(min(size, len(rows)), random_state=seed).tolist()
    found, milliseconds = measure(explainer, texts, methods, seed)
    summary = summarize(found, seed)
    for method in methods:
        summary[method]["ms_per_text"] = milliseconds[method]
    report = {"model": model, "backend": explainer.backend, "data": str(args.data), "rows": len(found)}
    if args.output:
        write_json(Path(args.output), report | {"seed": seed, "methods": summary})
    show(table(summary, len(found)))
    show("Gain: improvement over a random order. A gain whose 95 % interval contains 0 is no more than chance.")
    return 0


def measure(
    explainer: Explainer, texts: list[str], methods: list[str], seed: int
) -> tuple[list[dict[str, tuple[float, float]]], dict[str, float]]:
    """Explain the model's label for each text by each method, in the chunk that speaks most for it.

    Returns:
        What `faithfulness` says of each text that has content after cleaning, and the median milliseconds that each
        method took.
    """
    import numpy as np
    from tqdm import tqdm

    from sentiment_hf.data.chunks import read_chunks
    from sentiment_hf.explain.explanation import choose_targets
    from sentiment_hf.explain.faithfulness import faithfulness

    generator = np.random.default_rng(seed)
    found, times = [], {method: [] for method in methods}  # type: tuple[list[Any], dict[str, list[float]]]
    for text in tqdm(texts, unit="text", desc="Explaining"):
        _, chunks, _ = read_chunks(explainer.scorer.tokenizer, text, explainer.scorer.settings)
        if not len(chunks[0].content):
            continue
        (target,) = choose_targets(explainer.task, explainer.scorer.logits([text])[0], None, None)
        logits = explainer.judge_chunks(chunks)
        chunk = chunks[int(logits[:, target.index].argmax())]
        scores = {}
        for method in methods:
            started = time.perf_counter()
            scores[method] = explainer.attribute(chunk, target, method).scores
            times[method].append(1000 * (time.perf_counter() - started))
        found.append(faithfulness(explainer.judge, chunk, target, scores, generator))
    if not found:
        raise InputError("texts with content", "none after cleaning", "Check the text column.")
    return found, {method: float(np.median(values)) for method, values in times.items()}


def table(summary: dict[str, dict[str, Any]], rows: int) -> Table:
    """Lay out the summary as a table for a screen."""
    from rich.table import Table

    from sentiment_hf.explain.faithfulness import RANDOM

    shown = Table(title=f"Faithfulness on {rows:,} texts, in probability; 95 % bootstrap intervals")
    for title in ("method", "comprehensiveness", "gain", "sufficiency", "gain", "ms/text"):
        shown.add_column(title, justify="left" if title == "method" else "right")
    for method, figures in summary.items():
        cells = [method]
        for name in ("comprehensiveness", "sufficiency"):
            cells.append(f"{figures[name]['mean']:.3f}")
            gain = figures.get(f"{name}_gain")
            cells.append("–" if gain is None else f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")
        shown.add_row(*cells, "–" if method == RANDOM else f"{figures['ms_per_text']:.0f}")
    return shown
