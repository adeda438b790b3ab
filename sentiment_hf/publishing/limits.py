"""Where a model is known to fail, read off the records of its run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sentiment_hf.publishing.run import FinishedFolder

WORST = 3
# Below so many rows chance alone moves a slice.
MIN_ROWS = 20


@dataclass(frozen=True)
class Failures:
    """Known failures.

    Attributes:
        below_baseline: metric, the model's score and the baseline's, where the baseline is at least as good; else None.
        worst_label: label, recall and rows of the class that is found least often; None without classes.
        confusion: truth, prediction, rows and share of the truth's rows of the most frequent mistake.
        worst_aspects: name and macro-F1, the worst first.
        cut: share of the held-out texts that are longer than the model reads; None where sliding windows cover all.
        chosen_on_same_rows: whether the best checkpoint was chosen by the rows that the scores are of.
        slices: parts of the rows, how many they are and how right, the worst first.
    """

    below_baseline: tuple[str, float, float] | None
    worst_label: tuple[str, float, int] | None
    confusion: tuple[str, str, int, float] | None
    worst_aspects: tuple[tuple[str, float], ...]
    cut: float | None
    chosen_on_same_rows: bool
    slices: tuple[tuple[str, int, float], ...]


def find_failures(run: FinishedFolder, labels: list[str]) -> Failures:
    """Read them off `metrics.json`, `audit.json` and, where there is one, `errors.json`."""
    model, baseline = run.metrics["fp32"], run.metrics.get("baseline")
    settings = run.config["sentiment_hf"]
    metric = settings["metric"]
    below = baseline is not None and model[metric] <= baseline[metric]
    lengths = run.audit.get("rows_of_this_run", {}).get(run.metrics["split"], {})
    cut = None if settings["text"]["truncation"] == "sliding" else lengths.get("cut_by_max_length")
    aspects = [(name, row["macro_f1"]) for name, row in model.get("per_aspect", {}).items() if row.get("macro_f1")]
    parts = [part for part in (run.errors or {}).get("slices", ()) if part["rows"] >= MIN_ROWS]
    return Failures(
        below_baseline=(metric, model[metric], baseline[metric]) if baseline is not None and below else None,
        worst_label=_worst_label(model.get("per_class", {})),
        confusion=_top_confusion(model.get("confusion_matrix"), labels),
        worst_aspects=tuple(sorted(aspects, key=lambda item: item[1])[:WORST]),
        cut=cut,
        chosen_on_same_rows=run.metrics["split"] == "validation" and run.record.get("best_checkpoint") is not None,
        slices=tuple((_slice_name(part), part["rows"], part["accuracy"]) for part in parts[:WORST]),
    )


def _slice_name(part: dict[str, Any]) -> str:
    """`with negation`, or a column and its value."""
    is_mark = part["slice"] in ("with", "without")
    return f"{part['slice']} {part['by']}" if is_mark else f"{part['by']} {part['slice']}"


def _worst_label(per_class: dict[str, Any]) -> tuple[str, float, int] | None:
    seen = {label: row for label, row in per_class.items() if row["support"]}
    if not seen:
        return None
    label = min(seen, key=lambda name: seen[name]["recall"])
    return label, seen[label]["recall"], seen[label]["support"]


def _top_confusion(matrix: list[list[int]] | None, labels: list[str]) -> tuple[str, str, int, float] | None:
    """Rows of the matrix are truths."""
    if matrix is None:
        return None
    pairs = [(rows, truth, prediction) for truth, row in enumerate(matrix) for prediction, rows in enumerate(row)]
    wrong = [pair for pair in pairs if pair[1] != pair[2]]
    rows, truth, prediction = max(wrong, key=lambda pair: pair[0])
    return (labels[truth], labels[prediction], rows, rows / sum(matrix[truth])) if rows else None
