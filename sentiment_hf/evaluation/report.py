"""Tables of a run's scores: one system or several, with timings, and over seeds."""

from __future__ import annotations

import hashlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sentiment_hf.inference.scorer import ScoredDocuments
from sentiment_hf.tasks import Task
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import move_files, read_json, staging_folder, write_json

if TYPE_CHECKING:
    from rich.table import Table

METRICS_FILE = "metrics.json"
SYSTEMS = {
    "baseline": "TF-IDF + linear SVM (baseline)",
    "fp32": "FP32 (torch)",
    "onnx": "FP32 (ONNX Runtime)",
    "int8": "INT8 (ONNX Runtime)",
    "static": "INT8, static (ONNX Runtime)",
    "openvino": "FP32 weights (OpenVINO)",
    "openvino_int8": "INT8, static (OpenVINO)",
}


def system_row(scores: dict[str, Any], size_mb: float, ms_per_review: float, train_rows: int | None) -> dict[str, Any]:
    """One system's entry in `metrics.json`: the figures of the table first, then every other score.

    Args:
        scores: from `Task.scores`.
        size_mb: of the file that does the work, in 10**6 bytes.
        ms_per_review: strings in, labels out, on this machine.
        train_rows: rows it was trained on, where known.
    """
    return headline(scores) | {"size_mb": size_mb, "ms_per_review": ms_per_review, "train_rows": train_rows} | scores


def write_metrics(folder: Path, metrics: dict[str, Any]) -> Path:
    path = folder / METRICS_FILE
    write_json(path, metrics)
    return path


def read_metrics(run: str | Path) -> dict[str, Any]:
    """Read the metrics of a run (with its `split`), or of an evaluation on a file (with `data`, the file's name).

    Raises:
        InputError: the folder has none, or none that this package wrote.
    """
    path = Path(run) / METRICS_FILE
    if not path.is_file():
        raise InputError(f"a finished run at {run}", f"no {METRICS_FILE}", "Train first, or check the path.")
    try:
        metrics = read_json(path)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the metrics of a run in {path}", str(error), "Train it again.") from None
    # The split's name becomes that of a file that is read; an evaluation has none.
    splits = ("train", "validation", "test", *([None] if isinstance(metrics, dict) and "data" in metrics else []))
    if not isinstance(metrics, dict) or metrics.get("split") not in splits:
        found = repr(metrics.get("split")) if isinstance(metrics, dict) else type(metrics).__name__
        raise InputError(f"the metrics of a run, on validation or test, in {path}", found, "Train it again.")
    return metrics


def metrics_table(runs: Iterable[dict[str, Any]]) -> Table:
    """Build one table of runs, one line a system; several runs (protocols, recipes) stand below each other."""
    from rich.table import Table

    runs = list(runs)
    table = Table(title="Scores, and time with strings in and labels out")
    for column in ("run", "protocol", "scored on (rows)", "system", "trained on"):
        table.add_column(column, overflow="fold")
    rows = [run[system] for run in runs for system in SYSTEMS if run.get(system)]
    shown = shown_scores(rows)
    for column in (*(TITLES[name] for name in shown), "size MB", "ms/review"):
        # Eleven columns are too many for a terminal unless the titles may take two lines.
        table.add_column(column, justify="right", no_wrap=len(shown) <= 2)
    for metrics in runs:
        named = [metrics.get("name", ""), metrics.get("protocol", "–")]
        scored_on = metrics.get("split") or str(metrics.get("data", "–"))
        for system, label in SYSTEMS.items():
            row = metrics.get(system)
            if row is not None:
                trained_on = f"{row['train_rows']:,}" if row.get("train_rows") else "–"
                figures = [f"{row[name]:.4f}" if row.get(name) is not None else "–" for name in shown]
                figures += [f"{row['size_mb']:.2f}", f"{row['ms_per_review']:.2f}"]
                table.add_row(*named, f"{scored_on} ({row['rows']:,})", label, trained_on, *figures)
            elif f"{system}_refused" in metrics:
                dashes = ["–"] * (len(shown) + 2)
                table.add_row(*named, scored_on, f"{label}: refused by the gate", "–", *dashes)
        table.add_section()
    return table


# Those that tables show, in their order, with their titles; each task has some of them.
TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "mentioned_accuracy": "mentioned accuracy",
    "mentioned_macro_f1": "mentioned macro-F1",
    "rating_accuracy": "stars accuracy",
    "rating_mae": "stars MAE",
    "rating_kappa": "stars kappa",
}


def chunk_scores(documents: ScoredDocuments, labels: Sequence[Any], task: Task) -> dict[str, Any]:
    """Score single chunks, each judged by its document's label; the document's own scores stand beside these.

    Args:
        documents: with the logits of each chunk.
        labels: of the documents.
        task: whose they are.
    """
    given = list(labels)
    logits, places = documents.chunk_logits
    scores = task.scores(logits, [given[place] for place in places])
    shown = {name: scores[name] for name in ("confusion_matrix",) if name in scores}
    return headline(scores) | shown | {"rows": len(logits)}


def headline(scores: dict[str, Any]) -> dict[str, float]:
    """Select the scores that tables show."""
    return {name: scores[name] for name in (*TITLES, "pr_auc") if scores.get(name) is not None}


def shown_scores(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Which scores a terminal has room for: all that some row has, for aspects without the three accuracies."""
    names = [name for name in TITLES if any(name in row for row in rows)]
    return [name for name in names if not name.endswith("accuracy")] if "mentioned_macro_f1" in names else names


def many_classes(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether these are scores of more than two classes, of which macro-F1 alone says little about the rare ones."""
    return any(len(row.get("per_class", ())) > 2 for row in rows)


def metrics_for_trainer(task: Task) -> Callable[[Any], dict[str, float]]:
    """Build a `compute_metrics` for `Trainer`, of the scores that are plain numbers."""

    def compute_metrics(output: Any) -> dict[str, float]:
        scores = task.scores(output.predictions, output.label_ids)
        return {name: value for name, value in scores.items() if isinstance(value, float)}

    return compute_metrics


PREDICTIONS_FILE = "predictions.npz"


@dataclass(frozen=True)
class Predictions:
    """Predictions for the held-out rows, in the order of `splits/`.

    Attributes:
        logits: `[rows, width]`.
        labels: the truth as ids, `[rows]`, or `[rows, aspects]` (with a rating one column more).
    """

    logits: np.ndarray
    labels: np.ndarray


def write_predictions(folder: Path, logits: np.ndarray, labels: np.ndarray) -> None:
    """Write `predictions.npz`, whole or not at all."""
    with staging_folder(folder) as staging:
        np.savez_compressed(staging / PREDICTIONS_FILE, logits=logits.astype(np.float32), labels=labels)
        move_files(staging, folder)


def read_predictions(folder: Path) -> Predictions | None:
    """Read what `write_predictions` left in a run's folder; None where a run is older than that."""
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return Predictions(arrays["logits"], arrays["labels"])


def rows_fingerprint(rows: pd.DataFrame, task: Task) -> str:
    """Hash scored rows into a short name, by their texts and the names of their labels, in their order.

    Args:
        rows: `text`, and `label` as ids.
        task: that names the labels: two readings of one file have two names.
    """
    named = task.name_labels(rows[["text", "label"]])
    digest = hashlib.sha256()
    for cells in named.itertuples(index=False):
        digest.update("\0".join(map(str, cells)).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:16]


TIMED_ROUNDS = 5
TIMED_TEXTS = 400
# Of articles fewer will do: they take as long as many reviews, six times over.
TIMED_CHARACTERS = 100_000


def milliseconds_per_review(
    predictors: Mapping[str, Callable[[Sequence[str]], Any]], texts: Sequence[str], rounds: int = TIMED_ROUNDS
) -> dict[str, float]:
    """Time predictors in turns on the same texts.

    Machines are noisy, and noise that lasts hits one predictor only if they run one after the other; so each round
    runs all of them, after a warm-up round that does not count, and the median round is reported.

    Args:
        predictors: name -> function that takes all texts at once.
        texts: real texts; the first `TIMED_TEXTS` are used, or as many as have `TIMED_CHARACTERS` together, at least
        one. rounds: rounds that count.

    Returns:
        name -> milliseconds a text.
    """
    ends = itertools.accumulate(len(text or "") for text in texts)
    texts = list(texts)[: max(1, min(TIMED_TEXTS, sum(end <= TIMED_CHARACTERS for end in ends)))]
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    for round_number in range(rounds + 1):
        for name, predict in predictors.items():
            start = time.perf_counter()
            predict(texts)
            if round_number > 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) * 1000 / len(texts) for name, times in seconds.items()}


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
