"""Analyse a set of runs: the best setting, effects, and grids of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_hf.evaluation.plots import plain
from sentiment_hf.evaluation.report import spread
from sentiment_hf.sweeps.effects import AxisValue, Effect, axis_values, mean_validation, setting_effects
from sentiment_hf.sweeps.load_runs import FoundSetting
from sentiment_hf.sweeps.sweep import as_word
from sentiment_hf.sweeps.table import METRIC
from sentiment_hf.utils.exceptions import InputError


@dataclass(frozen=True)
class Findings:
    """What a set of runs found.

    Attributes:
        title: of the report.
        settings: in the order in which they came.
        baseline: which of them the others are measured against.
        best: the one with the best mean validation score.
        effects: of each other setting, by its name, where it can be told.
        axes: values of the keys that were varied by themselves.
        grid: one key against the rest, where every combination was tried.
        skipped: runs that are left out, with the reason.
    """

    title: str
    settings: Sequence[FoundSetting]
    baseline: FoundSetting
    best: FoundSetting
    effects: dict[str, Effect]
    axes: Sequence[AxisValue]
    grid: Grid | None
    skipped: Sequence[tuple[str, str]]

    @property
    def labels(self) -> list[str]:
        """Names of the classes; empty for runs of aspects."""
        return list(self.best.runs[0].model_scores.get("per_class", ()))


def analyze_runs(
    title: str, settings: Sequence[FoundSetting], skipped: Sequence[tuple[str, str]], baseline: str | None = None
) -> Findings:
    """Compare settings.

    Args:
        title: of the report.
        settings: from `group`.
        skipped: runs that are left out.
        baseline: name of the setting that the others are measured against; None for the first.

    Raises:
        InputError: no setting of that name, or settings of different tasks or splits.
    """
    names = [setting.name for setting in settings]
    if baseline is not None and baseline not in names:
        raise InputError(f"a baseline among {'; '.join(names)}", repr(baseline), "Name one of these settings.")
    first = settings[0] if baseline is None else settings[names.index(baseline)]
    for key in ("task", "split"):
        kinds = sorted({str(run.metrics[key]) for setting in settings for run in setting.runs})
        if len(kinds) > 1:
            raise InputError(f"runs of one {key}", ", ".join(kinds), "Report them one by one.")
    best = max(settings, key=mean_validation)
    effects = setting_effects(settings, first)
    axes, grid = axis_values(settings, first), find_grid(settings)
    return Findings(title, settings, first, best, effects, axes, grid, skipped)


def sentences(findings: Findings) -> list[str]:
    """Say what was found and what was not, a line of a list each."""
    best, baseline = findings.best, findings.baseline
    said = [
        f"- Best on validation: **{plain(best.name)}**, {spread_of(best, 'validation')} (held out {spread_of(best)})."
    ]
    effect = findings.effects.get(best.name)
    if best is baseline:
        said.append("- No setting is better than the baseline on validation.")
    elif effect is not None:
        said.append(f"- Against the baseline ({plain(baseline.name)}) on the held-out rows: {_told(effect)}.")
    proven = [effect for effect in findings.effects.values() if effect.is_significant]
    if findings.effects:
        said.append(f"- {len(proven)} of {len(findings.effects)} settings differ from the baseline significantly.")
        said += [f"- {plain(effect.name)}: {_told(effect)}." for effect in proven if effect.name != best.name]
        unproven = [plain(effect.name) for effect in findings.effects.values() if not effect.is_significant]
        if unproven:
            said.append(f"- Not significant, so that nothing is claimed of them: {'; '.join(unproven)}.")
    said += _sentences_of_keys(findings)
    untold = [plain(s.name) for s in findings.settings if s is not baseline and s.name not in findings.effects]
    if untold:
        why = "predictions of one label on the same rows and a common seed are needed"
        said.append(f"- Not tested ({why}): {'; '.join(untold)}.")
    few = min(len(setting.runs) for setting in findings.settings)
    if few < 3:
        said.append(f"- Some settings have {few} seed{'s' if few > 1 else ''} only: too few to know how runs scatter.")
    return said


def _sentences_of_keys(findings: Findings) -> list[str]:
    """Of each key that was varied by itself, over all settings of the others: which value changes something."""
    said = []
    for key in dict.fromkeys(value.key for value in findings.axes):
        own = plain(f"{key}={as_word(findings.baseline.axes[key])}")
        effects = [value.effect for value in findings.axes if value.key == key and value.effect is not None]
        proven = [effect for effect in effects if effect.is_significant]
        said += [f"- {plain(effect.name)} in place of {own}, all else equal: {_told(effect)}." for effect in proven]
        if effects and not proven:
            said.append(f"- No other value of {plain(key)} differs from {own} significantly, all else equal.")
    return said


def _told(effect: Effect) -> str:
    return f"{points(effect)}, adjusted p = {effect.adjusted:.3f}, {effect.verdict}"


def points(effect: Effect) -> str:
    """Format the effect in points with its interval."""
    return f"{100 * effect.difference:+.2f} [{100 * effect.low:+.2f}, {100 * effect.high:+.2f}]"


def spread_of(setting: FoundSetting, split: str | None = None, score: str = METRIC) -> str:
    """Mean and deviation over seeds of a score: on the held-out split, or on validation."""
    rows = [run.model_scores["validation"] if split == "validation" else run.model_scores for run in setting.runs]
    return spread([row[score] for row in rows if row.get(score) is not None])


@dataclass(frozen=True)
class Grid:
    """Every combination of one key's values and of the rest.

    Attributes:
        key: that runs across.
        values: of it, as words.
        rows: what the settings of a row have in common.
        cells: the settings, a list a row in the order of `values`.
    """

    key: str
    values: list[str]
    rows: list[str]
    cells: list[list[FoundSetting]]


def find_grid(settings: Sequence[FoundSetting]) -> Grid | None:
    """Find the grid that settings make, by the last key that can run across; None if there is none.

    A key can if every combination of the other keys was tried with each of its values, and there are two of each at
    least.
    """
    for key in reversed(list(settings[0].axes)):
        lines: dict[str, dict[str, FoundSetting]] = {}
        for setting in settings:
            lines.setdefault(setting.without(key), {})[as_word(setting.axes[key])] = setting
        values = list(dict.fromkeys(value for line in lines.values() for value in line))
        if min(len(lines), len(values)) > 1 and all(len(line) == len(values) for line in lines.values()):
            cells = [[line[value] for value in values] for line in lines.values()]
            return Grid(key, values, [_row_name(line[0], key) for line in cells], cells)
    return None


def _row_name(setting: FoundSetting, key: str) -> str:
    """Return the setting's name without this key."""
    own = f"{key}={as_word(setting.axes[key])}"
    words = " ".join(word for word in setting.name.split() if word != own)
    if words and words != setting.name:
        return words
    return " ".join(f"{name}={as_word(value)}" for name, value in setting.axes.items() if name != key)
