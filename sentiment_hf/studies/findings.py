"""What a set of runs found: which setting is best, and what differs from the baseline by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_hf.exceptions import InputError
from sentiment_hf.studies.effects import AxisValue, Effect, axis_values, mean_validation, setting_effects
from sentiment_hf.studies.grid import Grid, find_grid
from sentiment_hf.studies.load_runs import FoundSetting


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
