"""A table predicted in parts, by several processes and machines, so that a stopped job goes on where it was.

Every process reads the same file and writes parts of its own; nothing passes between them, so that none waits for
another that is gone.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_hf.data.row_blocks import RowBlocks, RowCursor
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import read_json
from sentiment_hf.serving.batch import ROWS_PER_BLOCK, BatchSettings, write_blocks
from sentiment_hf.serving.prediction_files import prediction_file
from sentiment_hf.serving.predictor import SentimentClassifier

logger = logging.getLogger(__name__)

# Readers of a folder of parquet files pass over names that begin so.
MANIFEST = "_manifest.json"


@dataclass(frozen=True)
class Shards:
    """How rows are divided into parts; the rows of part after part are those of the file, in order.

    Attributes:
        folder: holds the parts.
        kind: of the parts, one of `OUTPUT_KINDS`.
        count: number of parts.
        rows: of the table.
    """

    folder: Path
    kind: str
    count: int
    rows: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError("--num_shards of at least 1", str(self.count), "Take several times as many as processes.")

    def path(self, index: int) -> Path:
        return self.folder / f"part-{index:05d}-of-{self.count:05d}.{self.kind}"

    def span(self, index: int) -> tuple[int, int]:
        """First row, counted from 0, and the one after the last."""
        return self.rows * index // self.count, self.rows * (index + 1) // self.count

    def missing(self, indices: Iterable[int]) -> list[int]:
        """Those of the parts that are not there, in order."""
        return [index for index in sorted(set(indices)) if not self.path(index).is_file()]

    def own(self, process: int, processes: int) -> range:
        """Return the parts of one of several processes, whichever of them are there already."""
        return range(process, self.count, processes)


def rank_and_world_size() -> tuple[int, int]:
    """Which of how many processes this one is, as `accelerate launch` and `torchrun` say it; else 0 of 1."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def take_own_gpu() -> None:
    """Of the GPUs that this machine's processes see together, leave this process the one with its number."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    os.environ["CUDA_VISIBLE_DEVICES"] = seen[local % len(seen)] if seen else str(local)


def check_manifest(shards: Shards, job: dict[str, Any]) -> None:
    """Note in the folder what its parts are made of, or see that it is the same as before.

    Args:
        shards: say where.
        job: everything that the predictions depend on, as JSON.

    Raises:
        InputError: the folder has parts of another job, or parts and no manifest.
    """
    path = shards.folder / MANIFEST
    job = json.loads(json.dumps(job)) | {"num_shards": shards.count, "kind": shards.kind, "rows": shards.rows}
    shards.folder.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        strangers = sorted(item.name for item in shards.folder.glob("part-*"))
        if strangers:
            expected = f"{MANIFEST} beside the parts in {shards.folder}"
            raise InputError(expected, strangers[0], "Name another folder with --output, or empty this one.")
        _write_once(path, json.dumps(job, ensure_ascii=False, indent=2) + "\n")
    noted = read_json(path)
    for name in {**noted, **job}:
        if noted.get(name) != job.get(name):
            expected = f"the {name} that the parts in {shards.folder} are of ({_short(noted.get(name))})"
            remedy = "Give what was given before, or name another folder with --output."
            raise InputError(expected, _short(job.get(name)), remedy)


def _write_once(path: Path, text: str) -> None:
    """Create a file as a whole; of several processes that do so at the same time, the first one wins."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    partial.write_text(text, encoding="utf-8")
    try:
        os.link(partial, path)
    except FileExistsError:
        pass
    except OSError:
        # Some file systems have no links.
        os.replace(partial, path)
    partial.unlink(missing_ok=True)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"


class ShardWriter:
    """One classifier and one reading of the table, for part after part.

    Args:
        classifier: predicts.
        source: the table.
        settings: what is asked of each text.
        shards: where the parts go.
        progress: told the number of rows after each block.
    """

    def __init__(
        self,
        classifier: SentimentClassifier,
        source: RowBlocks,
        settings: BatchSettings,
        shards: Shards,
        progress: Callable[[int], object] = lambda rows: None,
    ) -> None:
        self.classifier, self.source, self.settings, self.shards = classifier, source, settings, shards
        self.progress = progress
        self._cursor = RowCursor(source, ROWS_PER_BLOCK)

    def write(self, index: int) -> int:
        """Write a part, which appears whole or not at all; parts in ascending order cost one reading of the table.

        Returns:
            Rows written.

        Raises:
            InputError: another process writes the same part.
        """
        path = self.shards.path(index)
        # What a killed process left of this part.
        for leftover in path.parent.glob(f".{path.name}.*.partial"):
            leftover.unlink(missing_ok=True)
        # A name of its own: of two processes with the same part, neither can publish the other's half.
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
        blocks = self._cursor.rows(*self.shards.span(index))
        try:
            schema, text_column = self.source.schema, self.settings.text_column
            with prediction_file(partial, self.shards.kind, schema, self.classifier.task, text_column) as file:
                rows = write_blocks(self.classifier, blocks, self.settings, file, self.progress)
            os.replace(partial, path)
        except FileNotFoundError:
            expected = f"one job at a time in {path.parent}"
            raise InputError(expected, f"another that writes {path.name}", "Let it end.") from None
        finally:
            partial.unlink(missing_ok=True)
        logger.info("%s: %d rows", path.name, rows)
        return rows
