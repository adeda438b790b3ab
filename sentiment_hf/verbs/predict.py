"""`sentiment-hf predict`: texts from the command line, a file, or a prompt."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from tqdm import tqdm

from sentiment_hf.console import show
from sentiment_hf.data.columns import TEXT_COLUMNS, pick_column
from sentiment_hf.data.file_kinds import is_document
from sentiment_hf.data.row_blocks import RowBlocks, open_blocks
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tables import read_document
from sentiment_hf.exceptions import InputError
from sentiment_hf.modeling.names import STARTER_REVIEWS
from sentiment_hf.serving.batch import ROWS_PER_BLOCK, BatchSettings, predict_blocks, predict_file
from sentiment_hf.serving.prediction_files import check_fits_workbook, output_kind, say_renamed
from sentiment_hf.serving.predictor import SentimentClassifier
from sentiment_hf.serving.shards import rank_and_world_size, take_own_gpu
from sentiment_hf.tasks import AnyPrediction
from sentiment_hf.verbs.predict_parts import check_parts, predict_parts

logger = logging.getLogger(__name__)

PROMPT = ">> "
# Below that an answer comes before anyone wonders.
BAR_FROM_BATCHES = 50


def run(args: argparse.Namespace) -> int:
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
        # The command has its first answer without a model of one's own; which one answers is said.
        logger.warning("no --model: %s, the classifier of reviews that comes with the package", STARTER_REVIEWS)
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
    if args.texts and args.file:
        raise InputError("texts or --file", "both", "Give one of them.")
    if args.output and not args.file:
        raise InputError("--file with --output", "--output alone", "Texts given as words are answered on the screen.")
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
    """AnyPrediction line by line until an empty line or the end of input."""
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
            logger.warning("%s, of a run that was stopped, is begun anew; --num_shards N goes on instead", partial)
        rows = predict_file(classifier, source, settings, output, output_kind(output), progress.update)
    show(f"{rows:,} rows written to {output}")
