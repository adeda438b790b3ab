"""`sentiment-hf predict --num_shards N`: answers in parts, by this process, by several, or by Ray Data."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from sentiment_hf.console import show
from sentiment_hf.data.row_blocks import RowBlocks
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.exceptions import InputError
from sentiment_hf.serving.batch import BatchSettings
from sentiment_hf.serving.fingerprint import fingerprint_of
from sentiment_hf.serving.prediction_files import OUTPUT_KINDS
from sentiment_hf.serving.predictor import SentimentClassifier
from sentiment_hf.serving.shards import Shards, ShardWriter, check_manifest, rank_and_world_size

PART_OPTIONS = ("shard_index", "num_actors")


def check_parts(args: argparse.Namespace) -> None:
    """See that the options of parts fit each other and the processes that were started.

    Raises:
        InputError: they do not.
        MissingExtraError: Ray is asked for and not installed.
    """
    _, processes = rank_and_world_size()
    if args.num_shards is None:
        given = [f"--{name}" for name in PART_OPTIONS if getattr(args, name) is not None]
        given += ["--engine ray"] if args.engine == "ray" else []
        given += [f"{processes} processes"] if processes > 1 else []
        if given:
            raise InputError(f"--num_shards with {given[0]}", "none", "Take several times as many as processes.")
        return
    if not (args.file and args.output):
        raise InputError("--file and --output with --num_shards", "one of them missing", "Name input and folder.")
    output = Path(args.output)
    if output.is_file() or output.name.lower().endswith(tuple(f".{kind}" for kind in OUTPUT_KINDS)):
        raise InputError("a folder for --output with --num_shards", str(output), "--part_kind says what is in it.")
    for index in args.shard_index or ():
        if not 0 <= index < args.num_shards:
            expected = f"--shard_index from 0 to {args.num_shards - 1}"
            raise InputError(expected, str(index), "Parts are counted from 0.")
    if args.engine == "ray":
        from sentiment_hf.serving.ray_engine import require_ray

        if processes > 1:
            raise InputError("one process with --engine ray", f"{processes}", "Ray starts its own: no accelerate.")
        if args.num_actors is not None and args.num_actors < 1:
            raise InputError("--num_actors of at least 1", str(args.num_actors), "Leave it out for all processors.")
        require_ray()
    elif args.num_actors is not None:
        raise InputError("--engine ray with --num_actors", "--engine local", "accelerate launch says how many.")


def predict_parts(
    classifier: SentimentClassifier, source: RowBlocks, settings: BatchSettings, args: argparse.Namespace
) -> None:
    """Write the parts that are this process's and not there yet."""
    process, processes = rank_and_world_size()
    shards = Shards(Path(args.output), args.part_kind, args.num_shards, source.rows)
    asked = {"text_column": settings.text_column, "top_k": settings.top_k, "top_chunks": settings.top_chunks}
    form = TableFormat.from_args(args)
    job = {"input": source.sha256(), **asdict(form)} | asked | fingerprint_of(classifier, args.model)
    check_manifest(shards, job)
    own = args.shard_index or shards.own(process, processes)
    missing = shards.missing(own)
    rows = sum(stop - start for start, stop in map(shards.span, missing))
    # One bar a machine; the others would write over it.
    with tqdm(total=rows, unit="row", desc="Predicting", disable=process > 0) as progress:
        if args.engine == "ray" and missing:
            from sentiment_hf.serving.ray_engine import ClassifierOptions, write_with_ray

            options = ClassifierOptions(args.model, args.backend, args.provider)
            file = Path(args.file).resolve()
            there = Shards(shards.folder.resolve(), shards.kind, shards.count, shards.rows)
            write_with_ray(options, file, form, settings, there, missing, args.num_actors, progress.update)
        else:
            writer = ShardWriter(classifier, source, settings, shards, progress.update)
            for index in missing:
                writer.write(index)
    there_now = shards.count - len(shards.missing(range(shards.count)))
    show(f"{rows:,} rows written; {there_now} of {shards.count} parts are in {shards.folder}")
