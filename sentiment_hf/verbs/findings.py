"""`sentiment-hf findings`: what a sweep or some runs found, as a page with pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.exceptions import InputError
from sentiment_hf.studies.findings import analyze_runs
from sentiment_hf.studies.findings_page import write_findings
from sentiment_hf.studies.load_runs import find_runs, group


def run(args: argparse.Namespace) -> int:
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
