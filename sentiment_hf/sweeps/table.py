"""The results of a sweep: `results.csv` with one row per run, and a table with one line per setting."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from sentiment_hf.data.delimited import guarded_cell
from sentiment_hf.evaluation.plots import plain
from sentiment_hf.evaluation.report import SYSTEMS, TITLES, spread
from sentiment_hf.sweeps.plan import FAILED, FINISHED, Outcome
from sentiment_hf.sweeps.sweep import as_word
from sentiment_hf.tasks import SingleLabelTask
from sentiment_hf.utils.files import write_text

if TYPE_CHECKING:
    from rich.table import Table

RESULTS_FILE, TABLE_FILE = "results.csv", "table.md"
# By which settings are compared: the score that picks checkpoints, too, is the same for every task.
METRIC = SingleLabelTask.metric
SCORES = TITLES | {"pr_auc": "PR-AUC"}
# In stars, not in percent; it stands in results.csv.
_NOT_PERCENT = {"rating_mae"}
# Only validation scores that runs record, and of them those that say something beside the metric.
_VALIDATION_SCORES = [name for name in TITLES if name not in _NOT_PERCENT]
_REASON_LENGTH = 300


@dataclass
class Summary:
    """The table of a sweep as text.

    Attributes:
        header: titles of the columns.
        lines: cells, the baseline's first.
        best: lines whose validation metric is the best, and the column of it.
        figures: columns from this one on are numbers.
        notes: what a reader has to know, a sentence each.
    """

    header: list[str]
    lines: list[list[str]]
    best: list[int] = field(default_factory=list)
    best_column: int = 0
    figures: int = 0
    notes: list[str] = field(default_factory=list)


def write_results(folder: Path, name: str, outcomes: Sequence[Outcome]) -> None:
    """`results.csv` and `table.md`, each replaced in one step."""
    write_text(folder / RESULTS_FILE, results_csv(outcomes))
    write_text(folder / TABLE_FILE, f"# {plain(name)}\n\n" + markdown(summarize(outcomes)))


def results_csv(outcomes: Sequence[Outcome]) -> str:
    """One row a run: what was varied, status, every score of it on validation and on the scored split, and its cost."""
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        run, model = outcome.run, outcome.metrics.get("fp32", {})
        row: dict[str, Any] = {"setting": run.setting.name}
        row |= {key: "" if value is None else as_word(value) for key, value in run.swept.items()}
        row |= {"seed": run.seed, "status": outcome.status, "split": outcome.metrics.get("split", "")}
        row |= {f"validation_{name}": value for name, value in model.get("validation", {}).items()}
        row |= {name: value for name, value in model.items() if isinstance(value, float)}
        row["training_seconds"] = "" if outcome.seconds is None else outcome.seconds
        row |= {"protocol": outcome.metrics.get("protocol", ""), "fingerprint": run.fingerprint}
        rows.append(row | {"folder": str(run.folder), "reason": outcome.reason})
    # A failed run has no scores, so the longest row says which columns there are.
    columns = dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    # Names of settings and reasons are what a recipe and a log say.
    writer.writerows({key: guarded_cell(value) for key, value in row.items()} for row in rows)
    return file.getvalue()


def summarize(outcomes: Sequence[Outcome]) -> Summary:
    """One line a setting, mean and deviation over its seeds; before them the baseline, where some run fitted it."""
    finished = [outcome for outcome in outcomes if outcome.status == FINISHED]
    settings: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        settings.setdefault(outcome.run.fingerprint, []).append(outcome)
    first = outcomes[0].run.setting
    names = ([] if first.title is None else ["setting"]) + list(first.axes)
    columns = _score_columns(finished)
    header = [*names, "seeds", *(title for title, _ in columns), "training s"]
    summary = Summary(header, _baseline_lines(finished, columns, len(names)), figures=len(names))
    means: dict[int, float] = {}
    for group in settings.values():
        setting, done = group[0].run.setting, [outcome for outcome in group if outcome.status == FINISHED]
        rows = [outcome.metrics["fp32"] for outcome in done]
        cells = [] if setting.title is None else [setting.title]
        cells += [as_word(value) for value in setting.axes.values()]
        cells.append(str(len(done)) if len(done) == len(group) else f"{len(done)} of {len(group)}")
        seconds = [outcome.seconds for outcome in done if outcome.seconds is not None]
        cells += [_cell(rows, path) for _, path in columns] + [f"{median(seconds):.0f}" if seconds else "–"]
        if rows:
            means[len(summary.lines)] = mean(row["validation"][METRIC] for row in rows)
        summary.lines.append(cells)
    if means:
        summary.best = [line for line, value in means.items() if value == max(means.values())]
        summary.best_column = len(names) + 1 + [path for _, path in columns].index(("validation", METRIC))
    summary.notes = _notes(outcomes, len(finished))
    return summary


def _score_columns(finished: Sequence[Outcome]) -> list[tuple[str, tuple[str, ...]]]:
    """Titles of the scores that some run has, and where they stand in a system's entry of `metrics.json`."""
    rows = [outcome.metrics["fp32"] for outcome in finished]
    splits = list(dict.fromkeys(outcome.metrics["split"] for outcome in finished))
    columns: list[tuple[str, tuple[str, ...]]] = [
        (f"validation {TITLES[name]}", ("validation", name))
        for name in _VALIDATION_SCORES
        if any(name in row["validation"] for row in rows)
    ]
    for name, title in SCORES.items():
        shown = name not in _NOT_PERCENT and any(row.get(name) is not None for row in rows)
        # Without test rows the scored split is validation itself.
        if shown and not (splits == ["validation"] and ("validation", name) in [path for _, path in columns]):
            columns.append((f"{'/'.join(splits)} {title}", (name,)))
    return columns


def _baseline_lines(
    finished: Sequence[Outcome], columns: Sequence[tuple[str, tuple[str, ...]]], names: int
) -> list[list[str]]:
    """Build a line for each set of rows that a baseline was fitted on; where there are several, name whose they are."""
    baselines: dict[str, Outcome] = {}
    for outcome in finished:
        if "baseline" in outcome.metrics:
            baselines.setdefault(outcome.run.data, outcome)
    lines = []
    for outcome in baselines.values():
        title = SYSTEMS["baseline"] + ("" if len(baselines) == 1 else f", rows of {outcome.run.setting.name}")
        cells = [title, *["–"] * names]
        lines.append([*cells, *(_cell([outcome.metrics["baseline"]], path) for _, path in columns), "–"])
    return lines


def _cell(rows: Sequence[dict[str, Any]], path: tuple[str, ...]) -> str:
    values = []
    for row in rows:
        part: Any = row
        for name in path:
            part = part.get(name) if part is not None else None
        if part is not None:
            values.append(part)
    return spread(values) if values else "–"


def _notes(outcomes: Sequence[Outcome], finished: int) -> list[str]:
    notes = [
        "Percent, mean ± sample standard deviation over seeds; training s is the median.",
        f"Bold: the best validation {SCORES[METRIC]}. Settings are chosen on validation alone; "
        "the other split is there to be read.",
    ]
    if finished < len(outcomes):
        notes.append(f"{finished} of {len(outcomes)} runs are finished.")
    failed = [outcome for outcome in outcomes if outcome.status == FAILED]
    return notes + [f"Failed: {outcome.run.name}: {outcome.reason[:_REASON_LENGTH]}" for outcome in failed]


def markdown(summary: Summary) -> str:
    """Write the table and its notes as Markdown."""
    lines = [list(line) for line in summary.lines]
    lines = [[plain(cell) for cell in line] for line in lines]
    for line in summary.best:
        lines[line][summary.best_column] = f"**{lines[line][summary.best_column]}**"
    header = [plain(title) for title in summary.header]
    rule = ["---"] * summary.figures + ["---:"] * (len(summary.header) - summary.figures)
    table = "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))
    return table + "\n\n" + "\n\n".join(map(plain, summary.notes)) + "\n"


def sweep_table(name: str, summary: Summary) -> Table:
    """Build the same table for the screen; where that has no bold, a star marks the best."""
    from rich.table import Table
    from rich.text import Text

    # As Text: a title or a reason may hold brackets, which rich would take for markup.
    table = Table(title=Text(name), caption=Text("\n".join(summary.notes).replace("Bold:", "*:")))
    for place, title in enumerate(summary.header):
        table.add_column(Text(title), justify="left" if place < summary.figures else "right")
    for place, line in enumerate(summary.lines):
        cells = [Text(cell) for cell in line]
        if place in summary.best:
            cells[summary.best_column] = Text(f"{line[summary.best_column]} *", style="bold")
        table.add_row(*cells)
    return table
