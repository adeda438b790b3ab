"""A table in, the same table with predictions out, block by block, so that its size does not matter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sentiment_hf.data.row_blocks import RowBlocks
from sentiment_hf.exceptions import deferred_interrupt
from sentiment_hf.serving.prediction_files import PredictionFile, prediction_file, texts_of
from sentiment_hf.serving.predictor import SentimentClassifier
from sentiment_hf.tasks import TOP_K, AnyPrediction

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
