"""`sentiment-hf sweep report`: write the results of a sweep or of several runs as a page with plots."""

from __future__ import annotations

import argparse
from pathlib import Path

from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUNS", help="folders of a sweep, a run or several runs")
    parser.add_argument(
        "--output", required=True, metavar="FILE.md", help="page to write; plots and an HTML file go beside it"
    )
    parser.add_argument(
        "--baseline", metavar="SETTING", help="setting that the others are compared with (default: the first)"
    )
    parser.add_argument("--title", metavar="TEXT", help="title of the page")
    text = "example texts per confusion, and number of confident mistakes to show; 0: none (default: 3)"
    parser.add_argument("--examples", type=int, default=3, metavar="N", help=text)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.sweeps.findings import analyze_runs
    from sentiment_hf.sweeps.findings_page import write_findings
    from sentiment_hf.sweeps.load_runs import find_runs, group

    log_to_stderr()
    output = Path(args.output)
    if output.suffix != ".md":
        raise InputError("--output ending in .md", args.output, "The HTML file and the pictures are named after it.")
    if args.examples < 0:
        raise InputError("examples of at least 0", str(args.examples), "0 shows no texts.")
    runs, skipped = find_runs([Path(path) for path in args.runs])
    named = ", ".join(Path(path).name for path in args.runs)
    title = args.title or f"Findings of {named if len(args.runs) <= 3 else f'{len(runs)} runs'}"
    findings = analyze_runs(title, group(runs), skipped, args.baseline)
    write_findings(findings, output, args.examples)
    for name, reason in skipped:
        show(f"left out: {name}: {reason}")
    show(f"Best on validation: {findings.best.name}. See {output} and {output.with_suffix('.html')}")
    return 0
