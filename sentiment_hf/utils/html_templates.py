"""Render HTML from Jinja templates stored beside the modules that use them."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# Whatever is filled in is escaped, unless it comes from a template itself.
HTML_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1]),
    undefined=StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
