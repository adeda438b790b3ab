"""Write the analysis of a set of runs as a Markdown page with plots, and as one HTML file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.evaluation.errors import predictions_frame, surest_mistakes, top_confusions
from sentiment_hf.evaluation.plots import (
    confusion_plot,
    drawable_names,
    excerpt,
    new_figure,
    picture,
    plain,
    table,
    to_html,
)
from sentiment_hf.evaluation.report import spread
from sentiment_hf.evaluation.significance import bootstrap_macro_f1, interval
from sentiment_hf.sweeps.effects import ALPHA, mean_held_out, mean_validation, validation_score
from sentiment_hf.sweeps.findings import Findings, Grid, points, sentences, spread_of
from sentiment_hf.sweeps.load_runs import FoundRun, FoundSetting
from sentiment_hf.sweeps.table import METRIC
from sentiment_hf.tasks import softmax
from sentiment_hf.utils.exceptions import MissingExtraError
from sentiment_hf.utils.files import move_files, staging_folder, write_text

logger = logging.getLogger(__name__)


def write_findings(findings: Findings, output: Path, examples: int) -> None:
    """Write the page, its pictures beside it, and one HTML file with the pictures inside.

    Args:
        findings: from `analyze_runs`.
        output: of the page, ending in .md; the others are named after it.
        examples: texts shown for each confusion and of the surest mistakes; 0 shows none of the texts.
    """
    with staging_folder(output.parent) as staging:
        drawn = _draw(findings, staging, output.stem)
        text = page(findings, drawn, examples)
        write_text(staging / output.name, text)
        write_text(staging / f"{output.stem}.html", to_html(text, findings.title, staging))
        move_files(staging, output.parent, last=output.name)


def _draw(findings: Findings, folder: Path, stem: str) -> dict[str, str]:
    """Draw what can be drawn: kind -> name of the file."""
    pair = list(dict.fromkeys([findings.baseline.name, findings.best.name]))
    two = [next(setting for setting in findings.settings if setting.name == name) for name in pair]
    kinds = {
        "scores": lambda path: scores_picture(findings.settings, path),
        "losses": lambda path: loss_picture(findings.settings, path),
    }
    grid = findings.grid
    if grid is not None:
        kinds["grid"] = lambda path: grid_picture(grid, path)
    if findings.labels:
        kinds["confusion"] = lambda path: confusion_picture(findings.best, findings.labels, path)
        best = two[-1:]
        alike = two if _same_rows(two) else best
        if all(run.predictions is not None for setting in alike for run in setting.runs):
            kinds["lengths"] = lambda path: length_picture(alike, path)
    drawn = {}
    try:
        for kind, draw in kinds.items():
            drawn[kind] = f"{stem}-{kind}.png"
            draw(folder / drawn[kind])
    except MissingExtraError as error:
        logger.warning("no pictures: %s", error)
        return {}
    return drawn


def _same_rows(settings: Sequence[FoundSetting]) -> bool:
    texts = [run.held_out["text"].tolist() for setting in settings for run in setting.runs]
    return all(other == texts[0] for other in texts)


def page(findings: Findings, drawn: dict[str, str], examples: int) -> str:
    """Write the report as Markdown."""
    runs = [run for setting in findings.settings for run in setting.runs]
    split, rows = runs[0].metrics["split"], runs[0].metrics["rows"]
    counted = ", ".join(f"{name} {count:,}" for name, count in rows.items())
    parts = [
        f"# {plain(findings.title)}",
        f"{len(runs)} runs of {len(findings.settings)} settings; task {plain(str(runs[0].metrics['task']))}, protocol "
        f"{runs[0].metrics.get('protocol', '–')}, rows: {counted}.",
        "Percent; mean ± sample standard deviation over seeds.",
        "## What was found",
        "\n".join(sentences(findings)),
        "## Settings",
        _settings_table(findings, split),
        f"Effect: macro-F1 on {split} against **{plain(findings.baseline.name)}**, with the 95 % interval of a paired "
        f"bootstrap over rows and seeds. p-values are adjusted for the number of settings (Holm); below {ALPHA} an "
        "effect counts. Settings are chosen on validation alone.",
    ]
    parts += [_picture(drawn, "scores"), "## Each key that was varied", *_axes_part(findings)]
    parts += _grid_part(findings.grid, drawn, split)
    parts += ["## Where the best setting fails", *_failures(findings, drawn, examples)]
    parts += ["## Training", _picture(drawn, "losses"), _cost_table(findings), *_versions(findings)]
    if findings.skipped:
        parts += ["## Left out", "These runs are not finished:", table(["run", "why"], findings.skipped)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _picture(drawn: dict[str, str], kind: str) -> str:
    return picture(kind, drawn[kind]) if kind in drawn else ""


def _settings_table(findings: Findings, split: str) -> str:
    header = [
        "setting",
        "seeds",
        "validation macro-F1",
        f"{split} macro-F1",
        f"{split} accuracy",
        "effect",
        "p",
        "verdict",
    ]
    lines = []
    for setting in findings.settings:
        effect = findings.effects.get(setting.name)
        cells = [setting.name, ", ".join(map(str, setting.seeds)), spread_of(setting, "validation"), spread_of(setting)]
        cells.append(spread_of(setting, score="accuracy"))
        if setting is findings.baseline:
            cells += ["–", "–", "baseline"]
        else:
            cells += [points(effect), f"{effect.adjusted:.3f}", effect.verdict] if effect else ["–", "–", "not tested"]
        lines.append(cells)
    return table(header, lines)


def _axes_part(findings: Findings) -> list[str]:
    if not findings.baseline.axes:
        return ["The runs differ in nothing but the seed."]
    lines, alone = [], {value.key for value in findings.axes}
    together = [key for key in findings.baseline.axes if key not in alone]
    named = f"Changed along with other keys only, so that nothing is said of them: {', '.join(together)}."
    others = [named] if together else []
    if not findings.axes:
        return others
    for value in findings.axes:
        told = (
            [points(value.effect), f"{value.effect.adjusted:.3f}", value.effect.verdict] if value.effect else ["–"] * 3
        )
        best = f"{100 * value.validation:.2f}" + (" (best)" if value.is_best else "")
        lines.append([value.key, value.value, str(value.settings), best, *told])
    note = "Effect: against the baseline's value, in runs that differ in this key alone; – where it is that value, or "
    note += "where no such runs are there. p-values are adjusted for the number of values."
    return [table(["key", "value", "settings", "validation macro-F1", "effect", "p", "verdict"], lines), note, *others]


def _grid_part(grid: Grid | None, drawn: dict[str, str], split: str) -> list[str]:
    if grid is None:
        return []
    lines = [
        [row, *(f"{spread_of(setting, 'validation')} / {spread_of(setting)}" for setting in line)]
        for row, line in zip(grid.rows, grid.cells, strict=True)
    ]
    header = ["setting", *(f"{grid.key}={value}" for value in grid.values)]
    return [f"Side by side, macro-F1 on validation / {split}:", table(header, lines), _picture(drawn, "grid")]


def _failures(findings: Findings, drawn: dict[str, str], examples: int) -> list[str]:
    best, labels = findings.best, findings.labels
    parts = [f"**{plain(best.name)}**, over its seeds."]
    classes: dict[str, list[dict[str, Any]]] = {}
    per = "per_class" if labels else "per_aspect"
    score = "f1" if labels else METRIC
    for run in best.runs:
        for name, figures in run.model_scores.get(per, {}).items():
            classes.setdefault(name, []).append(figures)
    hardest = sorted(classes, key=lambda name: mean(row[score] or 0.0 for row in classes[name]))
    lines = [[name, spread([row[score] for row in classes[name] if row[score] is not None])] for name in hardest]
    parts += ["The hardest first:", table(["class" if labels else "aspect", "F1"], lines)]
    parts += [_picture(drawn, "confusion"), _picture(drawn, "lengths")]
    kept = [run.predictions for run in best.runs]
    if labels and all(predictions is not None for predictions in kept):
        probabilities = np.mean(
            [softmax(predictions.logits) for predictions in kept if predictions is not None], axis=0
        )
        parts += _examples(best.runs[0].held_out, probabilities, labels, examples)
    return parts


def _examples(rows: pd.DataFrame, probabilities: np.ndarray, labels: list[str], examples: int) -> list[str]:
    ids = rows["label"].map({label: index for index, label in enumerate(labels)})
    frame = predictions_frame(rows[["text"]].assign(label=ids), probabilities, labels)
    pairs = top_confusions(frame, count=5, examples=examples)
    header = ["truth", "prediction", "rows", "share of the truth"] + (["examples"] if examples else [])
    lines = []
    for pair in pairs:
        cells = [pair["truth"], pair["prediction"], f"{pair['rows']:,}", f"{pair['share_of_truth']:.1%}"]
        lines.append(cells + ([" / ".join(excerpt(text) for text in pair["examples"])] if examples else []))
    parts = ["What is taken for what, by the mean probability of all seeds:", table(header, lines)]
    if examples:
        sure = surest_mistakes(frame, examples)
        lines = [[f"{row.confidence:.3f}", row.truth, row.prediction, excerpt(row.text)] for row in sure.itertuples()]
        parts += ["The surest mistakes; wrong labels gather here as well:"]
        parts.append(table(["confidence", "truth", "prediction", "text"], lines))
    return parts


def _cost_table(findings: Findings) -> str:
    lines = []
    for setting in findings.settings:
        # A run that went on from a checkpoint counts the seconds since then alone.
        whole = [run.record["training_seconds"] for run in setting.runs if not run.record.get("resumed_from")]
        seconds = f"{median(whole):.0f}" if whole else "–"
        memory = [run.record["peak_memory_mb"] for run in setting.runs if run.record.get("peak_memory_mb")]
        kinds = dict.fromkeys(kind for peak in memory for kind in peak)
        held = ", ".join(f"{kind} {max(peak.get(kind, 0.0) for peak in memory):,.0f}" for kind in kinds) or "–"
        scores = [run.model_scores for run in setting.runs]
        size, speed = (median(row[name] for row in scores) for name in ("size_mb", "ms_per_review"))
        lines.append([setting.name, seconds, held, f"{size:.1f}", f"{speed:.2f}"])
    header = ["setting", "training s (median)", "peak memory MB", "model MB", "ms/review"]
    return table(header, lines)


def _versions(findings: Findings) -> list[str]:
    runs = [run for setting in findings.settings for run in setting.runs]
    environments = {repr(run.record["environment"]): run.record["environment"] for run in runs}
    said = []
    for environment in environments.values():
        versions = ", ".join(f"{name} {value}" for name, value in environment.items() if isinstance(value, str))
        hardware = ", ".join(f"{name} {value}" for name, value in environment.get("hardware", {}).items())
        said.append(f"- {plain(versions)}; {plain(hardware)}")
    heading = "Versions and hardware:" if len(said) == 1 else "Versions and hardware, which differ between runs:"
    return [heading, "\n".join(said)]


LENGTH_BINS = 5
# Characters of a name that a picture has room for.
_NAME_LENGTH = 45
_COLOURS = (
    *("#4477aa", "#cc3311", "#228833", "#ccbb44", "#66ccee", "#aa3377"),
    *("#bbbbbb", "#000000", "#ee7733", "#009988", "#882255", "#997700"),
)


def scores_picture(settings: Sequence[FoundSetting], path: Path) -> None:
    """Draw macro-F1 of each run on validation and on the held-out rows, means, and the latter's 95 % interval."""
    figure = new_figure(figsize=(8, 1.2 + 0.45 * len(settings)))
    axes = figure.subplots()
    names, font = _names([setting.name for setting in settings])
    for place, setting in enumerate(settings):
        validation = [100 * validation_score(run) for run in setting.runs]
        test = [100 * run.model_scores[METRIC] for run in setting.runs]
        axes.plot(
            validation,
            [place - 0.15] * len(validation),
            "o",
            color=_COLOURS[6],
            markersize=4,
            label="validation, a seed each",
        )
        axes.plot(test, [place + 0.15] * len(test), "o", color=_COLOURS[0], markersize=4, label="held out, a seed each")
        between = _interval(setting)
        if between is not None:
            axes.plot([100 * end for end in between], [place + 0.15] * 2, color=_COLOURS[0], linewidth=1)
        axes.plot([mean(validation)], [place - 0.15], "|", color="black", markersize=12)
        axes.plot([mean(test)], [place + 0.15], "|", color=_COLOURS[1], markersize=12)
    axes.set_yticks(range(len(names)), names, **font)
    axes.invert_yaxis()
    axes.set(xlabel="macro-F1, percent; lines: 95 % over the held-out rows")
    handles, labels = axes.get_legend_handles_labels()
    # Not inside: intervals reach from end to end.
    figure.legend(handles[:2], labels[:2], loc="outside upper center", ncols=2, fontsize=8)
    figure.savefig(path, dpi=120)


def grid_picture(grid: Grid, path: Path) -> None:
    """Mean macro-F1 over seeds of each cell, on validation and on the held-out rows, coloured each by its own range."""
    figure = new_figure(figsize=(3 + 2.2 * len(grid.values), 1.6 + 0.55 * len(grid.rows)))
    drawable, font = _names([*grid.rows, *grid.values])
    names, values = drawable[: len(grid.rows)], drawable[len(grid.rows) :]
    for axes, split in zip(figure.subplots(1, 2, sharey=True), ("validation", "held out"), strict=True):
        score = mean_validation if split == "validation" else mean_held_out
        scores = np.array([[100 * score(setting) for setting in line] for line in grid.cells])
        axes.imshow(scores, cmap="Blues", aspect="auto")
        for (row, column), cell in np.ndenumerate(scores):
            colour = "white" if cell > (scores.min() + scores.max()) / 2 else "black"
            axes.text(column, row, f"{cell:.2f}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(len(values)), values, **font)
        axes.set_yticks(range(len(names)), names, **font)
        axes.set_title(f"macro-F1, {split}, percent", fontsize=10)
        axes.set(xlabel=grid.key)
    figure.savefig(path, dpi=100)


def loss_picture(settings: Sequence[FoundSetting], path: Path) -> None:
    """Training loss (lines) and validation loss (dashed) over steps, each a mean over seeds."""
    figure = new_figure(figsize=(8, 4.5))
    axes = figure.subplots()
    names, font = _names([setting.name for setting in settings])
    for setting, name, colour in zip(settings, names, cycle(_COLOURS), strict=False):
        for figures, style in (("loss", "-"), ("eval_loss", "--")):
            entries = [entry for run in setting.runs for entry in run.history if figures in entry]
            if entries:
                line = pd.DataFrame(entries).groupby("step")[figures].mean()
                label = name if figures == "loss" else None
                axes.plot(line.index, line, style, color=colour, linewidth=1, label=label)
    axes.set(xlabel="step", ylabel="loss, a mean over seeds (dashed: validation)")
    _legend(axes, font)
    figure.savefig(path, dpi=100)


def confusion_picture(setting: FoundSetting, labels: Sequence[str], path: Path) -> None:
    """Truth and prediction, counted over all seeds of a setting."""
    counts = np.sum([run.model_scores["confusion_matrix"] for run in setting.runs], axis=0)
    confusion_plot(pd.DataFrame(counts, index=list(labels), columns=list(labels)), path)


def length_picture(settings: Sequence[FoundSetting], path: Path) -> None:
    """Accuracy by the length of the text, mean over seeds, in bins of as many rows each."""
    lengths = settings[0].runs[0].held_out["text"].str.len().to_numpy()
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, LENGTH_BINS + 1)))
    places = np.clip(np.searchsorted(edges, lengths, side="left") - 1, 0, max(len(edges) - 2, 0))
    figure = new_figure(figsize=(8, 4))
    axes = figure.subplots()
    names, font = _names([setting.name for setting in settings])
    for number, (setting, name) in enumerate(zip(settings, names, strict=True)):
        right = np.mean([_right(run) for run in setting.runs], axis=0)
        shares = [100 * right[places == place].mean() for place in np.unique(places)]
        axes.plot(range(len(shares)), shares, "o-", color=_COLOURS[number % len(_COLOURS)], label=name)
    ticks = [f"{lengths[places == place].min()} to {lengths[places == place].max()}" for place in np.unique(places)]
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set(xlabel="characters", ylabel="accuracy, percent")
    _legend(axes, font)
    figure.savefig(path, dpi=120)


def _names(names: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Names as a picture can show them, and the font for them."""
    # Three plain dots: a font without Han may lack the ellipsis, too.
    cut = [name if len(name) <= _NAME_LENGTH else f"{name[:_NAME_LENGTH]}..." for name in names]
    return drawable_names(cut)


def _legend(axes: Any, font: dict[str, Any]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        for text in axes.legend(handles, labels, fontsize=8).get_texts():
            text.set(**font)


def _right(run: FoundRun) -> np.ndarray:
    assert run.predictions is not None
    right: np.ndarray = run.predictions.logits.argmax(axis=1) == run.predictions.labels
    return right


def _interval(setting: FoundSetting) -> tuple[float, float] | None:
    """95 % of the mean macro-F1 over seeds when rows are drawn anew; None without predictions of one label."""
    kept = [run.predictions for run in setting.runs]
    if any(predictions is None or predictions.labels.ndim > 1 for predictions in kept):
        return None
    predictions = [one for one in kept if one is not None]
    given = np.array([one.logits.argmax(axis=1) for one in predictions])
    scores = bootstrap_macro_f1(predictions[0].labels, given, predictions[0].logits.shape[1], resamples=2000)
    return interval(scores.mean(axis=1))
