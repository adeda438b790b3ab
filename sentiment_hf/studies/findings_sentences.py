"""The sentences of a findings report: what is claimed, and what is not."""

from __future__ import annotations

from sentiment_hf.evaluation.markdown import plain
from sentiment_hf.evaluation.seeds import spread
from sentiment_hf.studies.effects import Effect
from sentiment_hf.studies.findings import Findings
from sentiment_hf.studies.load_runs import FoundSetting
from sentiment_hf.studies.sweep import as_word
from sentiment_hf.studies.table import METRIC


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
