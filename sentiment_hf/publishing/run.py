"""Read the records of a finished run: its data sources, its scores, its known limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from sentiment_hf.config.recipe import read_recipe
from sentiment_hf.evaluation.report import METRICS_FILE, read_metrics
from sentiment_hf.training.provenance import FILE, FOLDER, HUB, MADE, PACKAGE
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json

CONFIG_FILE, RECORD_FILE, AUDIT_FILE, RECIPE_FILE = "config.json", "run.json", "audit.json", "recipe.yaml"
CALIBRATION_FILE = "calibration.json"
# All of transformers' arguments, of which the recipe has the project's own.
HYPERPARAMETERS_FILE = "hyperparameters.json"
# Where `sentiment-hf evaluate --errors --output_dir RUN/errors` puts it.
ERRORS_FILE = "errors/errors.json"
WEIGHTS = "*.safetensors"


@dataclass(frozen=True)
class FinishedFolder:
    """The records in the folder of a finished run.

    Attributes:
        folder: of the run.
        config: of the model, with what `sentiment_hf.modeling.config_io` keeps there.
        metrics: `metrics.json`.
        audit: `audit.json`.
        recipe: `recipe.yaml`.
        record: `run.json`: seed, seconds, versions.
        calibration: `calibration.json`, or None where the model was never calibrated.
        errors: `errors/errors.json`, or None where its errors were never looked at.
    """

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    audit: dict[str, Any]
    recipe: dict[str, Any]
    record: dict[str, Any]
    calibration: dict[str, Any] | None = None
    errors: dict[str, Any] | None = None


def read_run(run: str | Path) -> FinishedFolder:
    """Read the records of a run.

    Raises:
        InputError: the folder is no finished run, or its weights are not in safetensors.
    """
    folder = Path(run)
    metrics = read_metrics(folder)
    missing = [name for name in (CONFIG_FILE, RECORD_FILE, AUDIT_FILE, RECIPE_FILE) if not (folder / name).is_file()]
    if missing:
        remedy = "Make it with `sentiment-hf train`; a card is made of a run's records."
        raise InputError(f"a run with {METRICS_FILE} and all other records at {run}", f"no {missing[0]}", remedy)
    if not any(folder.glob(WEIGHTS)):
        remedy = "Save it with model.save_pretrained(folder); pickled weights are not pushed."
        raise InputError(f"weights in safetensors at {run}", "none", remedy)
    return FinishedFolder(
        folder,
        read_json(folder / CONFIG_FILE),
        metrics,
        read_json(folder / AUDIT_FILE),
        read_recipe(folder / RECIPE_FILE, known=None),
        read_json(folder / RECORD_FILE),
        _read_if_there(folder / CALIBRATION_FILE),
        _read_if_there(folder / ERRORS_FILE),
    )


def _read_if_there(path: Path) -> dict[str, Any] | None:
    return dict(read_json(path)) if path.is_file() else None


# Keys of recipes and records that name files.
FILE_KEYS = {"train": "train_file", "validation": "validation_file", "test": "test_file"}
NAMING_KEYS = (*FILE_KEYS.values(), "source", "sources", "decontaminate_against", "unlabelled", "data")


def sources_of(run: FinishedFolder) -> dict[str, Any]:
    """Return `sources` of `run.json`; of a run that is older than that, what its recipe and its audit still tell."""
    if "sources" in run.record:
        return dict(run.record["sources"])
    recipe, splits = run.recipe, {}
    has_files = any(recipe.get(key) for key in FILE_KEYS.values())
    for split, rows in run.metrics["rows"].items():
        if recipe.get(FILE_KEYS[split]):
            entry = {"kind": FILE, "name": Path(recipe[FILE_KEYS[split]]).name}
        elif has_files or split not in run.audit:
            entry = {"kind": MADE, "name": "train"}
        else:
            dataset = str(recipe.get("dataset", ""))
            entry = {"kind": PACKAGE if dataset.startswith("package:") else HUB, "name": dataset}
        splits[split] = entry | {"rows": rows}
    return {"splits": splits}


def published_keys(run: FinishedFolder, keys: dict[str, Any]) -> dict[str, Any]:
    """Keys of the recipe without what the run did not read, and with names in the place of folders of its own."""
    recipe, sources = dict(keys), sources_of(run)
    if sources["splits"]["train"]["kind"] == FILE:
        recipe = {key: value for key, value in recipe.items() if key not in ("dataset", "dataset_config")}
    elif sources["splits"]["train"]["kind"] == FOLDER and "dataset" in recipe:
        recipe["dataset"] = sources["splits"]["train"]["name"]
    if sources.get("model", {}).get("kind") == FOLDER and "model" in recipe:
        recipe["model"] = sources["model"]["name"]
    if teachers := [teacher["name"] for teacher in sources.get("teachers", ()) if "distill_from" in recipe]:
        recipe["distill_from"] = teachers[0] if len(teachers) == 1 else teachers
    return recipe


def file_names(value: Any) -> Any:
    """Files that a record names, without their folders; Hub ids and everything else as it is."""
    if isinstance(value, list):
        return [file_names(item) for item in value]
    if isinstance(value, str) and "/" in value.replace("\\", "/") and PureWindowsPath(value).suffix:
        return PureWindowsPath(value).name
    return value


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
