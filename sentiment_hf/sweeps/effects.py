"""Effects of a setting and their significance, paired over rows and over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

import numpy as np
from tqdm import tqdm

from sentiment_hf.evaluation.significance import RESAMPLES, bootstrap_macro_f1, holm, interval, two_sided_p
from sentiment_hf.sweeps.load_runs import FoundRun, FoundSetting
from sentiment_hf.sweeps.sweep import as_word
from sentiment_hf.sweeps.table import METRIC

ALPHA = 0.05


@dataclass(frozen=True)
class Effect:
    """A difference in macro-F1 on the held-out rows.

    Attributes:
        name: what it is the effect of.
        difference: mean over pairs of runs.
        low: of its 95 % interval.
        high: of the same.
        p_value: two-sided.
        pairs: of runs that were compared.
        adjusted: the p-value adjusted for the number of effects (Holm).
    """

    name: str
    difference: float
    low: float
    high: float
    p_value: float
    pairs: int
    adjusted: float = 1.0

    @property
    def is_significant(self) -> bool:
        return self.adjusted < ALPHA

    @property
    def verdict(self) -> str:
        if not self.is_significant:
            return "not significant"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True)
class AxisValue:
    """One value of a key that was varied.

    Attributes:
        key: the recipe's.
        value: as a word.
        settings: that have it.
        validation: mean over them of `mean_validation`.
        is_best: whether no other value has a better one.
        effect: against the baseline's value, in settings that differ in nothing else; None for the baseline's value
            itself, and where no settings differ in this key alone.
    """

    key: str
    value: str
    settings: int
    validation: float
    is_best: bool
    effect: Effect | None


def paired_effect(name: str, pairs: Sequence[tuple[FoundRun, FoundRun]], seed: int = 42) -> Effect | None:
    """Estimate the effect of the second of each pair of runs against the first.

    Rows are drawn with replacement, the same for all runs, and so are pairs: with few seeds much of the difference
    between two settings is the difference between seeds.

    Returns:
        None where it cannot be told: a run kept no predictions, its rows are others, or it is one of aspects.
    """
    runs = [run for pair in pairs for run in pair]
    kept = [run.predictions for run in runs]
    if not pairs or any(predictions is None or predictions.labels.ndim > 1 for predictions in kept):
        return None
    predictions = [one for one in kept if one is not None]
    truth = predictions[0].labels
    if any(not np.array_equal(one.labels, truth) for one in predictions):
        return None
    if any(run.held_out["text"].tolist() != runs[0].held_out["text"].tolist() for run in runs[1:]):
        return None
    given = np.array([one.logits.argmax(axis=1) for one in predictions])
    scores = bootstrap_macro_f1(truth, given, predictions[0].logits.shape[1], seed)
    differences = scores[:, 1::2] - scores[:, ::2]
    drawn = np.random.default_rng(seed).integers(len(pairs), size=differences.shape)
    resampled = np.take_along_axis(differences, drawn, axis=1).mean(axis=1)
    assert len(resampled) == RESAMPLES
    difference = mean(second.model_scores[METRIC] - first.model_scores[METRIC] for first, second in pairs)
    low, high = interval(resampled)
    return Effect(name, difference, low, high, two_sided_p(resampled), len(pairs))


def setting_effects(settings: Sequence[FoundSetting], baseline: FoundSetting) -> dict[str, Effect]:
    """Each setting against the baseline, under the seeds that both have; p-values adjusted for their number."""
    first = {run.seed: run for run in baseline.runs}
    found = []
    for setting in tqdm(settings, unit="setting", desc="Comparing settings", leave=False):
        pairs = [(first[run.seed], run) for run in setting.runs if run.seed in first]
        if setting is not baseline:
            found.append(paired_effect(setting.name, pairs))
    return {effect.name: effect for effect in adjusted([effect for effect in found if effect is not None])}


def axis_values(settings: Sequence[FoundSetting], baseline: FoundSetting) -> list[AxisValue]:
    """Every value of every key that was varied by itself, key by key, the best on validation first.

    A key of which no two settings differ in it alone came along with others; the mean of its values would say what
    those did.
    """
    values: list[AxisValue] = []
    keys = [key for key in baseline.axes if _varied_alone(key, settings)]
    for key in tqdm(keys, unit="key", desc="Comparing values", leave=False):
        groups: dict[str, list[FoundSetting]] = {}
        for setting in settings:
            groups.setdefault(as_word(setting.axes[key]), []).append(setting)
        # Settings count alike, also those of which a run is missing.
        validation = {value: mean(map(mean_validation, members)) for value, members in groups.items()}
        own = as_word(baseline.axes[key])
        effects = {
            value: paired_effect(f"{key}={value}", _pairs_along(key, groups[own], members))
            for value, members in groups.items()
            if value != own
        }
        for value in sorted(groups, key=lambda value: -validation[value]):
            is_best = validation[value] == max(validation.values())
            values.append(AxisValue(key, value, len(groups[value]), validation[value], is_best, effects.get(value)))
    again = iter(adjusted([value.effect for value in values if value.effect is not None]))
    return [value if value.effect is None else replace(value, effect=next(again)) for value in values]


def adjusted(effects: Sequence[Effect]) -> list[Effect]:
    """Return the effects with `adjusted` filled in."""
    p_values = holm([effect.p_value for effect in effects])
    return [replace(effect, adjusted=p_value) for effect, p_value in zip(effects, p_values, strict=True)]


def validation_score(run: FoundRun) -> float:
    """Return the score by which settings are chosen."""
    return float(run.model_scores["validation"][METRIC])


def mean_validation(setting: FoundSetting) -> float:
    """Average `validation_score` over the seeds of a setting."""
    return mean(map(validation_score, setting.runs))


def mean_held_out(setting: FoundSetting) -> float:
    """Its mean score on the held-out rows, which chooses nothing."""
    return mean(float(run.model_scores[METRIC]) for run in setting.runs)


def _pairs_along(
    key: str, first: Sequence[FoundSetting], second: Sequence[FoundSetting]
) -> list[tuple[FoundRun, FoundRun]]:
    """Pair runs that differ in this key alone."""
    runs = {(setting.without(key), run.seed): run for setting in first for run in setting.runs}
    return [
        (runs[setting.without(key), run.seed], run)
        for setting in second
        for run in setting.runs
        if (setting.without(key), run.seed) in runs
    ]


def _varied_alone(key: str, settings: Sequence[FoundSetting]) -> bool:
    """Whether two settings differ in this key and in no other."""
    values: dict[str, set[str]] = {}
    for setting in settings:
        values.setdefault(setting.without(key), set()).add(as_word(setting.axes[key]))
    return any(len(different) > 1 for different in values.values())
