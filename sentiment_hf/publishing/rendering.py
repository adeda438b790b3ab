"""The model card as Markdown, with its metadata in front."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sentiment_hf.publishing.card import ModelCard

TEMPLATE = "model_card.md.jinja"


def render(card: ModelCard) -> str:
    """Render the whole README: front matter and text, English and Chinese. The same card gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        # Markdown and not HTML: `text` and `fenced` escape what is not ours.
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"text": escaped, "fenced": fenced, "percent": "{:.1%}".format, "count": "{:,}".format}
    environment.filters["file_name"] = lambda path: Path(path).name
    body = environment.get_template(TEMPLATE).render(card=card)
    # What a condition leaves out leaves spaces and empty lines behind.
    body = re.sub(r"\n{3,}", "\n\n", re.sub(r" +\n", "\n", body))
    return f"---\n{card.metadata().to_yaml()}\n---\n\n{body}"


def escaped(value: Any) -> str:
    """Text of other people inside Markdown: shown as it is, neither markup nor HTML, on one line."""
    flat = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def fenced(code: str, language: str) -> str:
    """Put code into a block whose fence is longer than any run of backticks within."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"
