"""Several runs of one recipe under different seeds: mean and standard deviation, since one run is no result."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from sentiment_hf.evaluation.report import SYSTEMS
from sentiment_hf.evaluation.scores import TITLES, many_classes, shown_scores

if TYPE_CHECKING:
    from rich.table import Table

# What may differ between runs that are one recipe.
PER_RUN_KEYS = ("seed", "output_dir")


def group_by_recipe(
    runs: Sequence[tuple[dict[str, Any], dict[str, Any]]],
) -> list[list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Group runs, each as recipe and metrics, by recipes that differ in the seed alone, in the order they came."""
    groups: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for recipe, metrics in runs:
        key = repr(sorted((name, repr(value)) for name, value in recipe.items() if name not in PER_RUN_KEYS))
        groups.setdefault(key, []).append((recipe, metrics))
    return list(groups.values())


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation in percent, for example `90.12 ± 0.30`; one value stands alone."""
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0] * 100:.2f}"
    return f"{mean(values) * 100:.2f} ± {stdev(values) * 100:.2f}"


def common_name(names: Sequence[str]) -> str:
    """`plain-clean` of `plain-clean-42`, `plain-clean-43`, …; one name stays as it is."""
    prefix = commonprefix(names)  # noqa: RUF071 characters are meant, not parts of a path
    return names[0] if len(names) == 1 else prefix.rstrip("-_.0123456789") or names[0]


def seeds_table(runs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> Table:
    """One line a recipe and system: validation and test (or whatever was held out), mean and deviation over seeds."""
    from rich.table import Table

    table = Table(title="Percent, mean ± standard deviation over seeds")
    for column in ("runs", "seeds", "protocol", "system"):
        table.add_column(column, overflow="fold")
    scored = [row for _, metrics in runs for system in SYSTEMS if (row := metrics.get(system))]
    shown = shown_scores(scored) + (["pr_auc"] if many_classes(scored) else [])
    titles = TITLES | {"pr_auc": "PR-AUC"}
    for name in shown:
        for column in (f"validation {titles[name]}", titles[name]):
            table.add_column(column, justify="right", no_wrap=len(shown) <= 2)
    for group in group_by_recipe(runs):
        first, name = group[0][1], common_name([metrics["name"] for _, metrics in group])
        seeds = ", ".join(str(recipe["seed"]) for recipe, _ in group)
        for system, label in SYSTEMS.items():
            rows = [metrics[system] for _, metrics in group if metrics.get(system)]
            if rows:
                figures = [
                    spread([part[score] for part in parts if part.get(score) is not None])
                    for score in shown
                    for parts in ([row["validation"] for row in rows], rows)
                ]
                # A gate may have refused some of them.
                counted = label if len(rows) == len(group) else f"{label}, {len(rows)} of {len(group)}"
                table.add_row(name, seeds, first.get("protocol", "–"), counted, *figures)
        table.add_section()
    return table
