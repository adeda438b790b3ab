"""What a run writes down about itself: a log, and the facts that a reader needs to repeat or judge it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from sentiment_hf.hardware import cpu_name
from sentiment_hf.training.metric_log import MetricLog

logger = logging.getLogger(__name__)

LOG_FILE = "train.log"
RECORDED_PACKAGES = (
    "sentiment_hf",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "tokenizers",
    "numpy",
    "scikit-learn",
)


@contextmanager
def log_to_file(folder: Path) -> Iterator[None]:
    """Also write the package's log to `train.log` while a run lasts."""
    handler = logging.FileHandler(folder / LOG_FILE, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    package_logger = logging.getLogger("sentiment_hf")
    package_logger.addHandler(handler)
    if package_logger.level == logging.NOTSET:
        package_logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        package_logger.removeHandler(handler)
        handler.close()


def rows_digest(splits: Mapping[str, pd.DataFrame]) -> str:
    """A short name of the rows of a run: texts and labels of all splits, in their order."""
    digest = hashlib.sha256()
    for split, frame in splits.items():
        for text, label in zip(frame["text"], frame["label"], strict=True):
            digest.update(f"{split}\0{text}\0{label}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def environment() -> dict[str, Any]:
    """Versions and hardware."""
    versions = {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}
    hardware = {"cpu": cpu_name(), "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        hardware["gpu"] = torch.cuda.get_device_name()
    return {"python": platform.python_version(), **versions, "hardware": hardware}


class LogCallback(TrainerCallback):
    """Loss, learning rate and dev scores as lines of the package's log, which goes to the screen and to the run."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero and logs:
            line = " ".join(f"{name}={value:.6g}" for name, value in logs.items() if isinstance(value, int | float))
            logger.info("step %d: %s", state.global_step, line)


class BarOnly(ProgressCallback):
    """transformers' progress bars without its dumps of raw dictionaries: `LogCallback` says the same in a line."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        pass


def log_in_lines(trainer: Trainer) -> None:
    """Let `LogCallback` report in place of transformers' own printing, and `MetricLog` write the figures into the run's
    folder; bars stay where they are wanted."""
    trainer.add_callback(LogCallback())
    trainer.add_callback(MetricLog(Path(trainer.args.output_dir)))
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(BarOnly())
