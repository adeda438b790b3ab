"""What a finished run wrote down about itself, read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_hf.evaluation.report import METRICS_FILE, read_metrics
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import read_json
from sentiment_hf.recipe import read_recipe

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
