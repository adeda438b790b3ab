"""Console output: tables and lines on standard output, the log on standard error."""

from __future__ import annotations

import logging
import sys
from io import TextIOWrapper
from typing import Any

PLAIN_WIDTH = 140


def show(renderable: Any) -> None:
    """Print a rich table, or text as it is; what the terminal's encoding lacks becomes a question mark."""
    from rich.console import Console

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    # rich squeezes tables into 80 columns where there is no terminal, for example in a log of CI.
    # Cells hold names and texts of the data, in which [b] is no markup and :x: no picture.
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    if isinstance(renderable, str):
        console.out(renderable, highlight=False)
    else:
        console.print(renderable)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the package's log to standard error, one plain line a record; safe to call twice."""
    logger = logging.getLogger("sentiment_hf")
    logger.setLevel(level)
    logger.propagate = False
    if not any(isinstance(handler, logging.StreamHandler) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        logger.addHandler(handler)
