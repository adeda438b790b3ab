"""`metrics.json` and the table made of it: baseline, FP32 and INT8 on the same rows, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment_hf.evaluation.scores import TITLES, headline, shown_scores
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import read_json, write_json

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
