"""Predict a table block by block, or in parts by several processes and machines, resumable.

Every process reads the same file and writes parts of its own; nothing passes between them, so that none waits for
another that is gone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.batch.prediction_files import PredictionFile, prediction_file, texts_of
from sentiment_hf.batch.row_blocks import RowBlocks, RowCursor
from sentiment_hf.inference.backends import hub_file
from sentiment_hf.inference.onnx_session import HEAD_FILE, ONNX_FOLDER
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.loading import TOKENIZER_FILES
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.tasks import TOP_K, AnyPrediction
from sentiment_hf.utils.exceptions import InputError, deferred_interrupt
from sentiment_hf.utils.files import read_json
from sentiment_hf.utils.version import __version__

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


# As few as make Ctrl-C and the progress bar prompt, as many as fill batches of texts of one length.
ROWS_PER_BLOCK = 256


@dataclass(frozen=True)
class BatchSettings:
    """What is asked of each text.

    Attributes:
        text_column: where the texts are.
        top_k: see `SentimentClassifier.__call__`.
        top_chunks: likewise.
    """

    text_column: str
    top_k: int = TOP_K
    top_chunks: int = 0


def predict_blocks(
    classifier: SentimentClassifier, blocks: Iterable[pd.DataFrame], settings: BatchSettings
) -> Iterator[tuple[pd.DataFrame, list[AnyPrediction]]]:
    """Each block with the predictions for its rows."""
    for block in blocks:
        texts = texts_of(block[settings.text_column])
        yield block, classifier(texts, settings.top_k, settings.top_chunks)


def write_blocks(
    classifier: SentimentClassifier,
    blocks: Iterable[pd.DataFrame],
    settings: BatchSettings,
    file: PredictionFile,
    progress: Callable[[int], object],
) -> int:
    """Write blocks with their predictions into a file; Ctrl-C waits for the block that is under way.

    Args:
        classifier: predicts.
        blocks: rows with the text column.
        settings: what is asked.
        file: open.
        progress: told the number of rows after each block.

    Returns:
        Rows written.
    """
    rows = 0
    with deferred_interrupt() as check:
        for block, predictions in predict_blocks(classifier, blocks, settings):
            file.write(block, predictions)
            rows += len(block)
            progress(len(block))
            check()
    return rows


def predict_file(
    classifier: SentimentClassifier,
    source: RowBlocks,
    settings: BatchSettings,
    output: Path,
    kind: str,
    progress: Callable[[int], object] = lambda rows: None,
) -> int:
    """Write a table with its predictions to one file, which gets its name when the last row is in it.

    Until then, and after an interruption, what was predicted is in `OUTPUT.partial`.

    Args:
        classifier: predicts.
        source: the table.
        settings: what is asked.
        output: replaced if it is there.
        kind: one of `OUTPUT_KINDS`.
        progress: told the number of rows after each block.

    Returns:
        Rows written.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    with prediction_file(partial, kind, source.schema, classifier.task, settings.text_column, for_people=True) as file:
        rows = write_blocks(classifier, source.blocks(ROWS_PER_BLOCK), settings, file, progress)
    os.replace(partial, output)
    return rows


# What loading reads of a folder besides the weights.
_FILES = (
    "config.json",
    "adapter_config.json",
    *TOKENIZER_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_TORCH_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin")
_DOCUMENT_HEAD = (f"{ONNX_FOLDER}/{HEAD_FILE}",)


def fingerprint_of(classifier: SentimentClassifier, model: str) -> dict[str, Any]:
    """For the record beside predictions, to tell whether others would be the same.

    Args:
        classifier: that predicts.
        model: what it was loaded from.

    Returns:
        `model` (a hash of the folder's files that matter, or a Hub id with its commit), `weights` (the file in use, by
        name and content), `backend` and `version`.
    """
    folder = Path(resolve_model(model))
    weights = "" if classifier.file is None else f"{classifier.file.name} {_sha256(classifier.file)}"
    facts = {"backend": classifier.backend, "weights": weights, "version": __version__}
    if not folder.is_dir():
        # A file in the cache lies in a folder that is named after the commit.
        return {"model": f"{folder} {hub_file(str(folder), ['config.json'], None).parent.name}", **facts}
    patterns = (*_FILES, *(_TORCH_WEIGHTS if classifier.backend == "torch" else _DOCUMENT_HEAD))
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {_sha256(path)}\n".encode())
    return {"model": digest.hexdigest(), **facts}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
