"""Records of a run: its log, its metrics, and what is needed to reproduce it.

TensorBoard and W&B get the same figures from transformers itself (`report_to`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
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

from sentiment_hf.utils import hardware
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json, write_json, write_text
from sentiment_hf.utils.hardware import cpu_name

logger = logging.getLogger(__name__)

LOG_FILE, ROWS_FILE = "train.log", "rows.json"
_RESUME = "Give the same files and labels again, or start again: --overwrite_output_dir true without resuming."
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


def rows_record(splits: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> dict[str, Any]:
    """Summarize what a run reads, short enough to stand beside it: `labels` in the order of their ids, and of each
    split its number of `rows` and their `digest`."""
    return {
        "labels": list(labels),
        "splits": {split: {"rows": len(rows), "digest": rows_digest({split: rows})} for split, rows in splits.items()},
    }


def compared_rows(checkpoint: str | None, splits: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> dict[str, Any]:
    """Record the rows that a run reads, and compare them with those of the checkpoint which it goes on from.

    Args:
        checkpoint: its folder, in that of the run that wrote it; None: nothing is resumed.
        splits: `text` and `label` of each; of training those that are learned from.
        labels: names in the order of their ids.

    Raises:
        InputError: other labels than the checkpoint's, or a split with other rows.
    """
    now = rows_record(splits, labels)
    if checkpoint is not None:
        _check_same_rows(checkpoint, now)
    return now


def _check_same_rows(checkpoint: str, now: dict[str, Any]) -> None:
    path = Path(checkpoint).parent / ROWS_FILE
    if not path.is_file():
        logger.warning("%s does not record its training rows: they are not compared", checkpoint)
        return
    try:
        before = read_json(path)
        labels, splits = list(before["labels"]), dict(before["splits"])
        counts = {split: (int(facts["rows"]), str(facts["digest"])) for split, facts in splits.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the rows of {checkpoint} in {path}", f"{type(error).__name__}: {error}", _RESUME) from error
    if labels != now["labels"]:
        expected = f"the labels of {checkpoint}, {', '.join(map(str, labels))}"
        raise InputError(expected, ", ".join(now["labels"]), _RESUME)
    given = {split: (facts["rows"], facts["digest"]) for split, facts in now["splits"].items()}
    for split in dict.fromkeys([*counts, *given]):
        if counts.get(split) != given.get(split):
            had, has = (rows[split][0] if split in rows else 0 for rows in (counts, given))
            found = f"{has:,}" if has != had else f"as many with other texts, labels or another order in {split}"
            raise InputError(f"the {had:,} rows in {split} that {checkpoint} was trained with", found, _RESUME)


def rows_digest(splits: Mapping[str, pd.DataFrame]) -> str:
    """Hash the rows of a run to a short name: texts and labels of all splits, in their order."""
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
    """Log loss, learning rate and validation scores, to the screen and to the log of the run."""

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


LINES_FILE, TABLE_FILE, HYPERPARAMETERS_FILE = "metrics.jsonl", "metrics.csv", "hyperparameters.json"


class MetricLog(TrainerCallback):
    """Writes every figure that the trainer logs beside the run's log.

    `metrics.jsonl` has a line for each record as it comes; `metrics.csv` is rewritten after each evaluation and at the
    end, a column a figure; `hyperparameters.json` holds all of transformers' arguments. A resumed run has the records
    up to its checkpoint and those after it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            write_json(self.folder / HYPERPARAMETERS_FILE, args.to_dict())
            # Records behind the checkpoint that is gone on from would come twice.
            write_text(self.folder / LINES_FILE, "".join(map(_line, state.log_history)))

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero and state.log_history:
            with (self.folder / LINES_FILE).open("a", encoding="utf-8") as file:
                file.write(_line(state.log_history[-1]))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._write_table(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._write_table(state)

    def _write_table(self, state: TrainerState) -> None:
        if state.is_world_process_zero and state.log_history:
            table = pd.DataFrame(state.log_history)
            first = [name for name in ("step", "epoch") if name in table]
            columns = [*first, *table.columns.difference(first, sort=False)]
            write_text(self.folder / TABLE_FILE, table[columns].to_csv(index=False))


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def peak_memory_mb() -> dict[str, float]:
    """Return the most memory that this process has held so far, in MB (10**6 bytes): `cpu`, and `gpu` where there is
    one."""
    held = hardware.peak_memory_mb()
    peak = {} if held is None else {"cpu": round(held, 1)}
    if torch.cuda.is_available():
        peak["gpu"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return peak
