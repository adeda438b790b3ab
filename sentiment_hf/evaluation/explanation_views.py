"""Explanations to look at: coloured text in a terminal, and a page of HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sentiment_hf.evaluation.explanation import CLEANED, Explanation, ScoredSpan

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

# Two colours that nearly everybody tells apart: what speaks for the label, and what speaks against it.
FOR, AGAINST = (0, 119, 187), (204, 51, 17)
# Words that the tables list.
SHOWN = 12
# Parts of the strongest score below which a terminal leaves a word uncoloured.
_FAINT = 0.05

_STYLE = """
body { font: 16px/1.9 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; color: #222;
       margin: 2rem auto; max-width: 50rem; padding: 0 1rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.text span { border-radius: 2px; }
.rest { color: #999; }
.note { color: #666; font-size: 0.85rem; line-height: 1.5; }
table { border-collapse: collapse; font-size: 0.9rem; }
td, th { padding: 0 0.8rem 0 0; text-align: left; }
td:last-child { text-align: right; font-variant-numeric: tabular-nums; }
"""


def heading(explanation: Explanation) -> str:
    """Say what is explained, in a line."""
    aspect = f"{explanation.aspect}: " if explanation.aspect else ""
    place = ""
    if explanation.num_chunks > 1:
        place = f", chunk {explanation.chunk_idx + 1} of {explanation.num_chunks}"
        place += f" (characters {explanation.start:,} to {explanation.end:,})"
    return f"{aspect}{explanation.label} ({explanation.probability:.3f}) by {explanation.method}{place}"


def notes(explanation: Explanation) -> list[str]:
    """List what a reader has to know to read the scores rightly."""
    said = []
    if explanation.exploratory:
        said.append(
            "Exploratory: attention says where the model looked, not what decided; it has no sign and is the same for "
            "every label."
        )
    else:
        said.append(f"Scores are log-odds of the label, {explanation.log_odds:+.2f} in all; below 0 speaks against it.")
    if explanation.completeness_error is not None:
        said.append(
            f"The scores sum to the difference from a text of masks within {explanation.completeness_error:.1%} "
            f"({explanation.steps} steps)."
        )
    if not explanation.words:
        said.append("By characters: pip install 'sentiment_hf[explain]' brings the words.")
    if explanation.offsets_in == CLEANED:
        said.append("The text is shown as the model got it, after cleaning.")
    return said


def strongest(explanation: Explanation, count: int = SHOWN) -> list[ScoredSpan]:
    """Words (or characters) by the size of their score."""
    return sorted(explanation.spans, key=lambda span: -abs(span.score))[:count]


def coloured(explanation: Explanation) -> Text:
    """Render the chunk for a terminal, each word on the colour of its score."""
    from rich.text import Text

    text = Text()
    for span, share in _shares(explanation):
        if share is None:
            text.append(span, style="dim")
        elif abs(share) < _FAINT:
            text.append(span)
        else:
            red, green, blue = (round(255 - (255 - part) * abs(share)) for part in (FOR if share > 0 else AGAINST))
            text.append(span, style=f"{'white' if abs(share) > 0.6 else 'black'} on rgb({red},{green},{blue})")
    return text


def terminal_view(explanation: Explanation) -> Group:
    """Heading, coloured chunk, the strongest words with their scores, and notes."""
    from rich.console import Group
    from rich.text import Text

    lines = [Text(line, style="dim") for line in notes(explanation)]
    return Group(Text(heading(explanation), style="bold"), coloured(explanation), _table(explanation), *lines)


def _table(explanation: Explanation) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column()
    for span in strongest(explanation):
        table.add_row(f"{span.score:+.3f}", Text(span.text))
    return table


def html_fragment(explanation: Explanation) -> str:
    """One explanation as HTML, everything in it escaped; colours are written into the elements."""
    parts = []
    for span, share in _shares(explanation):
        text = html.escape(span)
        if share is None:
            parts.append(f'<span class="rest">{text}</span>')
        else:
            red, green, blue = FOR if share > 0 else AGAINST
            parts.append(f'<span style="background: rgba({red}, {green}, {blue}, {abs(share):.2f})">{text}</span>')
    rows = "".join(
        f"<tr><td>{html.escape(span.text)}</td><td>{span.score:+.3f}</td></tr>" for span in strongest(explanation)
    )
    said = "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes(explanation))
    return (
        f"<section><h2>{html.escape(heading(explanation))}</h2>"
        f'<p class="text">{"".join(parts)}</p><table>{rows}</table>{said}</section>'
    )


def html_page(explanations: Sequence[Explanation], title: str) -> str:
    """Explanations as a page that stands alone."""
    sections = "\n".join(html_fragment(explanation) for explanation in explanations)
    return (
        '<!doctype html>\n<html lang="zh">\n<head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n<h1>{html.escape(title)}</h1>\n{sections}\n</body>\n</html>\n"
    )


def _shares(explanation: Explanation) -> list[tuple[str, float | None]]:
    """Split the chunk into spans, each with its score as a share of the strongest; None for what the model did not
    read as a token."""
    highest = max((abs(span.score) for span in explanation.spans), default=0.0) or 1.0
    parts: list[tuple[str, float | None]] = []
    at = explanation.start
    for span in explanation.spans:
        if span.start > at:
            parts.append((explanation.text[at : span.start], None))
        parts.append((span.text, span.score / highest))
        at = span.end
    if at < explanation.end:
        parts.append((explanation.text[at : explanation.end], None))
    return parts
