"""Plots, and the Markdown that embeds them."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pandas as pd

from sentiment_hf.inference.calibration import BINS
from sentiment_hf.utils.exceptions import MissingExtraError
from sentiment_hf.utils.html_templates import HTML_TEMPLATES

logger = logging.getLogger(__name__)

# Fonts with Han glyphs that systems and people install; the first one found is used.
HAN_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Heiti SC",
    "Arial Unicode MS",
)


def new_figure(**options: Any) -> Any:
    """Make an empty figure that needs no display.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots") from error
    return Figure(**{"layout": "constrained", **options})


def han_font() -> str | None:
    """Find the name of an installed font with Han glyphs; None if there is none."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in HAN_FONTS if name in installed), None)


def drawable_names(names: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Names as they can be drawn, and the font for them; where no font has all of their characters they become numbers,
    and a warning says which is which, since empty boxes would say nothing."""
    if all(name.isascii() for name in names):
        return names, {}
    font = han_font()
    if font is not None and _has_glyphs(font, "".join(names)):
        return names, {"fontname": font}
    legend = ", ".join(f"{place} = {name}" for place, name in enumerate(names))
    why = "no font with Han glyphs is installed (fonts-noto-cjk has one)" if font is None else f"{font} lacks a glyph"
    logger.warning("%s: in the picture %s", why, legend)
    return [str(place) for place in range(len(names))], {}


def _has_glyphs(font: str, text: str) -> bool:
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    drawn = FT2Font(font_manager.findfont(font)).get_charmap()
    return all(ord(character) in drawn for character in text)


def confusion_plot(table: pd.DataFrame, path: Path) -> None:
    """Draw the counts of truth and prediction, coloured by the share of the truth.

    Args:
        table: from `sentiment_hf.evaluation.errors.confusion`.
        path: of the picture.
    """
    size = max(4.0, 0.8 * len(table) + 2)
    figure = new_figure(figsize=(size + 1, size))
    names, font = drawable_names(list(table.index))
    axes = figure.subplots()
    shares = table.to_numpy() / table.sum(axis=1).clip(lower=1).to_numpy()[:, None]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(table)):
        for column in range(len(table)):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = f"{table.iat[row, column]:,}\n{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", **font)
    axes.set_yticks(range(len(names)), names, **font)
    axes.set(xlabel="prediction", ylabel="truth")
    figure.colorbar(image, label="share of the truth")
    figure.savefig(path, dpi=120)


def reliability_plot(report: dict[str, Any], path: Path) -> None:
    """Draw the bins of a `calibration_report`: accuracy over confidence, and how many rows each bin has.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(figsize=(8, 4.4))
    axes = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1))
    for column, name in enumerate(("before", "after")):
        bins, gap = report[name]["bins"], report[name]["expected_calibration_error"]
        upper, lower = axes[0][column], axes[1][column]
        width = 1 / BINS
        upper.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
        upper.bar([row["low"] for row in bins], [row["accuracy"] for row in bins], width, align="edge", color="#4477aa")
        upper.plot([row["confidence"] for row in bins], [row["accuracy"] for row in bins], "o", color="#cc3311")
        upper.set(title=f"{name} scaling: error {100 * gap:.1f} points", xlim=(0, 1), ylim=(0, 1))
        lower.bar([row["low"] for row in bins], [row["rows"] for row in bins], width, align="edge", color="0.7")
        lower.set(xlabel="confidence")
    axes[0][0].set(ylabel="accuracy")
    axes[1][0].set(ylabel="rows")
    figure.savefig(path, dpi=120)


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
