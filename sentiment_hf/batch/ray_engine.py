"""Predict the parts of a table with Ray Data, on the CPUs and machines of a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sentiment_hf.batch.row_blocks import open_blocks
from sentiment_hf.batch.shards import BatchSettings, Shards, ShardWriter
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

logger = logging.getLogger(__name__)

# What passes through Ray's store are numbers of parts; rows go from file to file.
STORE_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True)
class ClassifierOptions:
    """How each worker opens its classifier; see `SentimentClassifier.from_pretrained`."""

    model: str
    backend: str = "auto"
    provider: str = "cpu"


class _Worker:
    """Lives in a process of Ray's with a classifier of its own, and writes the parts that it is handed."""

    def __init__(
        self, options: ClassifierOptions, file: Path, form: TableFormat, settings: BatchSettings, shards: Shards
    ) -> None:
        classifier = SentimentClassifier.from_pretrained(options.model, options.backend, options.provider)
        self._writer = ShardWriter(classifier, open_blocks(file, form), settings, shards)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        return {"rows": np.array([self._write(int(index)) for index in batch["id"]])}

    def _write(self, index: int) -> int:
        shards = self._writer.shards
        if not shards.missing([index]):
            # Ray hands a part out again whose writer died before it could say that it was done.
            start, stop = shards.span(index)
            return stop - start
        return self._writer.write(index)


def require_ray() -> None:
    """Raise MissingExtraError where Ray is not installed."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error


def write_with_ray(
    options: ClassifierOptions,
    file: Path,
    form: TableFormat,
    settings: BatchSettings,
    shards: Shards,
    missing: list[int],
    workers: int | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> int:
    """Write parts by workers of Ray's; a worker that dies is started again by Ray, and its part with it.

    Args:
        options: for each worker's classifier.
        file: the table, under this path on every machine of the cluster.
        form: how the table is read.
        settings: what is asked of each text.
        shards: where the parts go, likewise.
        missing: numbers of the parts to write.
        workers: how many classifiers work at a time; by default one a processor (with a provider other than cpu, one a
            GPU) of the cluster.
        progress: told the rows of each part.

    Returns:
        Rows written.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: the cluster has nothing to run on.
    """
    require_ray()
    import ray
    import ray.data

    # It tells its plan and its progress in lines of its own.
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    own = not ray.is_initialized()
    if own:
        _connect()
    try:
        on_gpu = options.provider != "cpu"
        resource = "GPU" if on_gpu else "CPU"
        there = int(ray.cluster_resources().get(resource, 0))
        if there < 1:
            raise InputError(f"a Ray cluster with a {resource}", "none", "Add one, or take another --provider.")
        workers = max(1, min(workers or there, there, len(missing)))
        ray.data.DataContext.get_current().enable_progress_bars = False
        # Part numbers go out in ascending order, so that each worker reads the table once.
        numbers = ray.data.from_items([{"id": index} for index in missing], override_num_blocks=len(missing))
        done = numbers.map_batches(
            _Worker,
            fn_constructor_args=(options, file, form, settings, shards),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=None if on_gpu else 1,
            num_gpus=1 if on_gpu else None,
        )
        rows = 0
        for row in done.iter_rows():
            rows += int(row["rows"])
            progress(int(row["rows"]))
        return rows
    finally:
        if own:
            ray.shutdown()


def _connect() -> None:
    """Join the cluster that `RAY_ADDRESS` names, or start one of this machine's processors."""
    # Whether a cluster was started is nobody else's business.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
        return
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
