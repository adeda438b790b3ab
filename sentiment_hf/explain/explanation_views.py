"""Show explanations as coloured text in a terminal or as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sentiment_hf.explain.explanation import CLEANED, Explanation, ScoredSpan
from sentiment_hf.utils.html_templates import HTML_TEMPLATES

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

# Two colours that nearly everybody tells apart: what speaks for the label, and what speaks against it.
FOR, AGAINST = (0, 119, 187), (204, 51, 17)
# Words that the tables list.
SHOWN = 12
# Parts of the strongest score below which a word is left uncoloured.
FAINT = 0.05


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
    for span, score, share in split_by_score(explanation):
        if score is None:
            text.append(span, style="dim")
        elif abs(share) < FAINT:
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


def split_by_score(explanation: Explanation) -> list[tuple[str, float | None, float]]:
    """Split the chunk into spans, each with its score and that as a share of the strongest.

    What the model did not read as a token has the score None and the share 0.
    """
    highest = max((abs(span.score) for span in explanation.spans), default=0.0) or 1.0
    parts: list[tuple[str, float | None, float]] = []
    at = explanation.start
    for span in explanation.spans:
        if span.start > at:
            parts.append((explanation.text[at : span.start], None, 0.0))
        parts.append((span.text, span.score, span.score / highest))
        at = span.end
    if at < explanation.end:
        parts.append((explanation.text[at : explanation.end], None, 0.0))
    return parts


_SCOPE: dict[str, Any] = {"heading": heading, "notes": notes, "split_by_score": split_by_score, "strongest": strongest}
_SCOPE |= {"supporting": FOR, "opposing": AGAINST}


def html_fragment(explanation: Explanation) -> str:
    """Render one explanation as HTML, everything in it escaped; colours are written into the elements."""
    template = HTML_TEMPLATES.get_template("explain/explanation.html.jinja")
    return template.render(_SCOPE, explanation=explanation)


def html_page(explanations: Sequence[Explanation], title: str) -> str:
    """Render explanations as a page that stands alone."""
    template = HTML_TEMPLATES.get_template("explain/explanations.html.jinja")
    return template.render(_SCOPE, explanations=explanations, title=title)
