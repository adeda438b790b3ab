"""A benchmark as figures, a table and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment_hf.benchmark.measure import LENGTHS
from sentiment_hf.evaluation.pictures import new_figure

if TYPE_CHECKING:
    from rich.table import Table

BASELINE = "transformers pipeline, FP32, batch 32"
_COLUMNS = ("system", "reviews/s", "ms/review", "× pipeline")
_LAST = ("size MB", "peak MB", "accuracy", "share of limit")
_MARKERS = "osD^v"


def result_table(result: dict[str, Any]) -> Table:
    """One line a system, with its speed against transformers' pipeline at batch 32."""
    from rich.table import Table

    limit = result["limit"]
    title = (
        f"{result['texts']} texts, {result['tokens']:.0f} tokens on average, {result['threads']} threads, "
        f"{result['padding_share']:.1%} padding in our batches. "
        f"The products alone would take {limit['ms_per_review']:.2f} ms a review in {limit['precision']}"
    )
    table = Table(title=title)
    for place, name in enumerate((*_COLUMNS, *(f"p50 ms, {length}" for length in LENGTHS), *_LAST)):
        table.add_column(name, justify="right" if place else "left", overflow="fold", min_width=None if place else 26)
    speed = {row["name"]: row["reviews_per_s"] for row in result["rows"]}
    for row in result["rows"]:
        if row["reviews_per_s"] is None:
            table.add_row(row["name"], f"did not run: {row['reason']}")
            continue
        figures = [f"{row['reviews_per_s']:.0f}", f"{1000 / row['reviews_per_s']:.2f}"]
        base = speed.get(BASELINE)
        figures.append(f"{row['reviews_per_s'] / base:.1f}" if base else "–")
        figures += [f"{row['p50_ms'][str(length)]:.2f}" if str(length) in row["p50_ms"] else "–" for length in LENGTHS]
        peak = f"{row['peak_mb']:.0f}" if row["peak_mb"] else "–"
        figures += [f"{row['size_mb']:.1f}", peak, f"{row['accuracy']:.2%}"]
        table.add_row(row["name"], *figures, f"{row['share_of_limit']:.0%}")
    return table


def accuracy_latency_plot(result: dict[str, Any], path: Path) -> None:
    """Accuracy against milliseconds a review, one point a system.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(figsize=(8, 5))
    from matplotlib.ticker import LogLocator  # after new_figure, which says what to install where it is missing

    axes = figure.subplots()
    rows = [row for row in result["rows"] if row["reviews_per_s"] is not None]
    for place, row in enumerate(rows):
        # Ten colours, then the same in another shape.
        look = {"color": f"C{place % 10}", "marker": _MARKERS[place // 10 % len(_MARKERS)], "label": row["name"]}
        axes.scatter(1000 / row["reviews_per_s"], 100 * row["accuracy"], s=60, **look)
    axes.axvline(result["limit"]["ms_per_review"], linestyle=":", color="grey", label="products alone")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("milliseconds a review, strings in and labels out")
    axes.set_ylabel("accuracy, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=110)
