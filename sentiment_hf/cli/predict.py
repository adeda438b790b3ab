"""`sentiment-hf predict`: classify texts from the command line, a file or a prompt; large files in parts."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment_hf.cli.common import add_format_options, add_model_options
from sentiment_hf.data.table_format import TableFormat, is_document
from sentiment_hf.utils.console import show
from sentiment_hf.utils.exceptions import InputError

if TYPE_CHECKING:
    from sentiment_hf.batch.row_blocks import RowBlocks
    from sentiment_hf.batch.shards import BatchSettings
    from sentiment_hf.inference.predictor import SentimentClassifier
    from sentiment_hf.tasks import AnyPrediction

logger = logging.getLogger(__name__)
PROMPT = ">> "
# Shorter jobs need no progress bar.
BAR_FROM_BATCHES = 50
PART_OPTIONS = ("shard_index", "num_actors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser, required=False)
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT", help="texts to classify; without TEXT and --file: an interactive prompt"
    )
    parser.add_argument(
        "--file", metavar="FILE", help="csv, tsv, json, jsonl, parquet or xlsx, also .gz; a .txt is one document"
    )
    text = "output file: csv, tsv, jsonl (each also .gz), parquet or xlsx; with --num_shards: output folder"
    parser.add_argument("--output", metavar="PATH", help=text)
    parser.add_argument(
        "--text_column", metavar="NAME", help="column with the text (default: the first with a common name)"
    )
    add_format_options(parser)
    parser.add_argument(
        "--top_k", type=int, default=3, metavar="K", help="number of labels listed under top (default: 3)"
    )
    text = "with sliding windows: number of chunks to show, those with the highest scores for the label (default: 0)"
    parser.add_argument("--top_chunks", type=int, default=0, metavar="M", help=text)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line: text, label, probability, top"
    )

    text = "write the predictions to N files, with one or several processes; a restart writes the missing ones"
    parts = parser.add_argument_group("parts", text)
    parts.add_argument(
        "--num_shards", type=int, metavar="N", help="number of parts; use several times the number of processes"
    )
    text = "parts to write, counted from 0 (default: under accelerate launch those of the process, else all)"
    parts.add_argument("--shard_index", type=int, nargs="+", metavar="I", help=text)
    kinds = ("jsonl", "csv", "tsv", "parquet", "jsonl.gz", "csv.gz", "tsv.gz")
    parts.add_argument("--part_kind", choices=kinds, default="jsonl", help="file type of the parts (default: jsonl)")
    text = "local: this process and those of accelerate launch; ray: Ray Data (default: local)"
    parts.add_argument("--engine", choices=("local", "ray"), default="local", help=text)
    text = "with --engine ray: number of concurrent classifiers (default: one per CPU of the cluster)"
    parts.add_argument("--num_actors", type=int, metavar="N", help=text)


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.batch.prediction_files import check_fits_workbook, output_kind, say_renamed
    from sentiment_hf.batch.row_blocks import open_blocks
    from sentiment_hf.batch.shards import BatchSettings, rank_and_world_size, take_own_gpu
    from sentiment_hf.data.columns import TEXT_COLUMNS, pick_column
    from sentiment_hf.data.tables import read_document
    from sentiment_hf.inference.predictor import SentimentClassifier
    from sentiment_hf.modeling.names import STARTER_REVIEWS

    _check(args)
    # The input is read before the model is loaded, which takes longer.
    form = TableFormat.from_args(args)
    is_whole = bool(args.file) and is_document(Path(args.file), form)
    document = read_document(args.file, args.encoding) if is_whole else None
    source = open_blocks(args.file, form) if args.file and not is_whole else None
    column = pick_column(source.head, args.text_column, TEXT_COLUMNS, "text", args.file) if source is not None else ""
    if source is not None and args.output and args.num_shards is None and output_kind(Path(args.output)) == "xlsx":
        check_fits_workbook(source)
    if args.model is None:
        # The command works without a model of your own; the log names the one that is used.
        logger.warning("no --model given: using %s, the review classifier included in the package", STARTER_REVIEWS)
        args.model = STARTER_REVIEWS
    if args.provider != "cpu" and rank_and_world_size()[1] > 1:
        take_own_gpu()
    classifier = SentimentClassifier.from_pretrained(args.model, args.backend, args.provider)
    classifier.scorer.bar_from_batches = BAR_FROM_BATCHES
    if source is not None:
        if args.output:
            kind = args.part_kind if args.num_shards is not None else output_kind(Path(args.output))
            say_renamed(kind, source.schema.names, column, classifier.task)
        _predict_table(classifier, source, BatchSettings(column, args.top_k, args.top_chunks), args)
    elif document is not None or args.texts:
        for prediction in classifier(args.texts or [document], args.top_k, args.top_chunks):
            _show(prediction, args.json)
    else:
        _prompt(classifier, args)
    return 0


def _check(args: argparse.Namespace) -> None:
    from sentiment_hf.batch.prediction_files import output_kind

    if args.texts and args.file:
        raise InputError("texts or --file", "both", "Give one of them.")
    if args.output and not args.file:
        raise InputError("--file with --output", "--output alone", "Predictions for texts given as words are printed.")
    # A word that names a file is hardly a text.
    named = next((text for text in args.texts if _is_file(text)), None)
    if named is not None:
        raise InputError("a text", f"the name of a file, {named}", f"Was --file {named} meant?")
    if args.output and is_document(Path(args.file), TableFormat.from_args(args)):
        remedy = "Leave --output out; --column_names text reads a text from each line."
        raise InputError("a table with --output", "a text file, which is one document", remedy)
    check_parts(args)
    if args.output and args.num_shards is None:
        output_kind(Path(args.output))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        # Longer than a name may be, or with characters that no name has.
        return False


def _show(prediction: AnyPrediction, as_json: bool) -> None:
    show(json.dumps(prediction.to_dict(), ensure_ascii=False) if as_json else str(prediction))


def _prompt(classifier: SentimentClassifier, args: argparse.Namespace) -> None:
    """Classify line by line until an empty line or the end of input."""
    if sys.stdin.isatty():
        show("Type a text and press Enter; an empty line ends.")
    while True:
        try:
            text = input(PROMPT if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not text.strip():
            return
        _show(classifier(text, args.top_k, args.top_chunks), args.json)


def _predict_table(
    classifier: SentimentClassifier, source: RowBlocks, settings: BatchSettings, args: argparse.Namespace
) -> None:
    from tqdm import tqdm

    from sentiment_hf.batch.prediction_files import output_kind
    from sentiment_hf.batch.shards import ROWS_PER_BLOCK, predict_blocks, predict_file

    if args.num_shards is not None:
        predict_parts(classifier, source, settings, args)
        return
    with tqdm(total=source.rows, unit="row", desc="Predicting") as progress:
        if not args.output:
            for block, predictions in predict_blocks(classifier, source.blocks(ROWS_PER_BLOCK), settings):
                for prediction in predictions:
                    _show(prediction, args.json)
                progress.update(len(block))
            return
        output = Path(args.output)
        partial = output.with_name(output.name + ".partial")
        if partial.exists():
            logger.warning(
                "%s was left by a stopped run and is started again; --num_shards N can resume instead", partial
            )
        rows = predict_file(classifier, source, settings, output, output_kind(output), progress.update)
    show(f"{rows:,} rows written to {output}")


def check_parts(args: argparse.Namespace) -> None:
    """Check that the options for parts fit each other and the number of processes.

    Raises:
        InputError: they do not.
        MissingExtraError: Ray is asked for and not installed.
    """
    from sentiment_hf.batch.prediction_files import OUTPUT_KINDS
    from sentiment_hf.batch.shards import rank_and_world_size

    _, processes = rank_and_world_size()
    if args.num_shards is None:
        given = [f"--{name}" for name in PART_OPTIONS if getattr(args, name) is not None]
        given += ["--engine ray"] if args.engine == "ray" else []
        given += [f"{processes} processes"] if processes > 1 else []
        if given:
            raise InputError(f"--num_shards with {given[0]}", "none", "Use several times the number of processes.")
        return
    if not (args.file and args.output):
        raise InputError("--file and --output with --num_shards", "one of them missing", "Name input and folder.")
    output = Path(args.output)
    if output.is_file() or output.name.lower().endswith(tuple(f".{kind}" for kind in OUTPUT_KINDS)):
        raise InputError(
            "a folder for --output with --num_shards", str(output), "Set the file type of the parts with --part_kind."
        )
    for index in args.shard_index or ():
        if not 0 <= index < args.num_shards:
            expected = f"--shard_index from 0 to {args.num_shards - 1}"
            raise InputError(expected, str(index), "Parts are counted from 0.")
    if args.engine == "ray":
        from sentiment_hf.batch.ray_engine import require_ray

        if processes > 1:
            raise InputError("one process with --engine ray", f"{processes}", "Ray starts its own: no accelerate.")
        if args.num_actors is not None and args.num_actors < 1:
            raise InputError("--num_actors of at least 1", str(args.num_actors), "Leave it out for all processors.")
        require_ray()
    elif args.num_actors is not None:
        raise InputError(
            "--engine ray with --num_actors", "--engine local", "The number of processes is set by accelerate launch."
        )


def predict_parts(
    classifier: SentimentClassifier, source: RowBlocks, settings: BatchSettings, args: argparse.Namespace
) -> None:
    """Write the missing parts of this process."""
    from tqdm import tqdm

    from sentiment_hf.batch.shards import Shards, ShardWriter, check_manifest, fingerprint_of, rank_and_world_size

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
            from sentiment_hf.batch.ray_engine import ClassifierOptions, write_with_ray

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
