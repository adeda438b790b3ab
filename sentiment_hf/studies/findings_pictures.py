"""The pictures of a findings report."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.evaluation.pictures import confusion_plot, drawable_names, new_figure
from sentiment_hf.evaluation.significance import bootstrap_macro_f1, interval
from sentiment_hf.studies.effects import mean_held_out, mean_validation, validation_score
from sentiment_hf.studies.grid import Grid
from sentiment_hf.studies.load_runs import FoundRun, FoundSetting
from sentiment_hf.studies.table import METRIC

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
