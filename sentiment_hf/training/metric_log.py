"""What a run measures on its way, as files that any tool reads: `metrics.jsonl`, `metrics.csv`, `hyperparameters.json`.

TensorBoard and W&B get the same figures from transformers itself (`report_to`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sentiment_hf import hardware
from sentiment_hf.files import write_json, write_text

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
