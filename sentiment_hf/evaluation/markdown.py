"""Tables and pages of Markdown out of texts that may hold anything."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from sentiment_hf.evaluation.html_templates import HTML_TEMPLATES

EXCERPT = 80


def excerpt(text: str, length: int = EXCERPT) -> str:
    """Return the beginning of a text on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[:length] + "…"


# Controls that no page shows, and marks that turn what follows them around.
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
# Marks of Markdown; an underscore within a word is none.
_MARKS = re.compile(r"([\\`*\[\]|#~]|(?<![^\W_])_|_(?![^\W_]))")


def plain(text: str) -> str:
    """Escape a text, on one line, so that Markdown and HTML find nothing of their own in it."""
    flat = _UNSEEN.sub("\ufffd", " ".join(text.split()))
    return _MARKS.sub(r"\\\1", flat).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def picture(title: str, file: str) -> str:
    """Write the Markdown of a picture that lies beside the page, whatever its file is called."""
    return f"![{plain(title)}]({quote(file)})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table as Markdown; cells may hold anything."""
    lines = [
        [plain(title) for title in header],
        ["---"] * len(header),
        *([plain(value) for value in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_html(page: str, title: str, folder: Path) -> str:
    """Render a page of Markdown as one HTML file, with the png pictures that it names inside.

    Args:
        page: in CommonMark with tables; HTML in it is shown, not obeyed.
        title: of the page.
        folder: where its pictures lie.
    """
    import html

    from markdown_it import MarkdownIt

    def inside(match: re.Match[str]) -> str:
        file = folder / unquote(html.unescape(match[1]))
        if file.parent != folder or not file.is_file():
            return match[0]
        content = base64.b64encode(file.read_bytes()).decode("ascii")
        return f'src="data:image/png;base64,{content}"'

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(page)
    body = re.sub(r'src="([^"/]+\.png)"', inside, body)
    template = HTML_TEMPLATES.get_template("evaluation/markdown.html.jinja")
    return template.render(title=title, body=body)
