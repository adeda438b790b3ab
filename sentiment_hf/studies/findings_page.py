"""What a set of runs found, as a page with pictures, and as one HTML file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import pandas as pd

from sentiment_hf.evaluation.errors import predictions_frame, surest_mistakes, top_confusions
from sentiment_hf.evaluation.markdown import excerpt, picture, plain, table, to_html
from sentiment_hf.evaluation.seeds import spread
from sentiment_hf.exceptions import MissingExtraError
from sentiment_hf.files import move_files, staging_folder, write_text
from sentiment_hf.studies import findings_pictures as pictures
from sentiment_hf.studies.effects import ALPHA
from sentiment_hf.studies.findings import Findings
from sentiment_hf.studies.findings_sentences import points, sentences, spread_of
from sentiment_hf.studies.grid import Grid
from sentiment_hf.studies.load_runs import FoundSetting
from sentiment_hf.studies.table import METRIC
from sentiment_hf.tasks import softmax

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
        "scores": lambda path: pictures.scores_picture(findings.settings, path),
        "losses": lambda path: pictures.loss_picture(findings.settings, path),
    }
    grid = findings.grid
    if grid is not None:
        kinds["grid"] = lambda path: pictures.grid_picture(grid, path)
    if findings.labels:
        kinds["confusion"] = lambda path: pictures.confusion_picture(findings.best, findings.labels, path)
        best = two[-1:]
        alike = two if _same_rows(two) else best
        if all(run.predictions is not None for setting in alike for run in setting.runs):
            kinds["lengths"] = lambda path: pictures.length_picture(alike, path)
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
