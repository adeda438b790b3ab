"""`sentiment-hf predict`: texts from the command line, a file, or a prompt."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from sentiment_hf.console import show
from sentiment_hf.data.columns import TEXT_COLUMNS, pick_column
from sentiment_hf.data.tables import read_document, read_table
from sentiment_hf.exceptions import InputError, deferred_interrupt
from sentiment_hf.modeling.names import STARTER_REVIEWS
from sentiment_hf.serving.answers import Answer, columns_of_answers
from sentiment_hf.serving.predictor import SentimentClassifier

logger = logging.getLogger(__name__)

ROWS_PER_BLOCK = 256
OUTPUT_KINDS = (".csv", ".tsv", ".jsonl")
PROMPT = ">> "
# Below that an answer comes before anyone wonders.
BAR_FROM_BATCHES = 50


def run(args: argparse.Namespace) -> int:
    _check(args)
    # The input is read before the model is loaded, which takes longer.
    is_document = bool(args.file) and Path(args.file).suffix == ".txt"
    document = read_document(args.file, args.encoding) if is_document else None
    table = read_table(args.file, args.encoding) if args.file and not is_document else None
    column = pick_column(table, args.text_column, TEXT_COLUMNS, "text", args.file) if table is not None else ""
    if args.model is None:
        # The command has its first answer without a model of one's own; which one answers is said.
        logger.warning("no --model: %s, the classifier of reviews that comes with the package", STARTER_REVIEWS)
    classifier = SentimentClassifier.from_pretrained(args.model or STARTER_REVIEWS, args.backend, args.provider)
    classifier.scorer.bar_from_batches = BAR_FROM_BATCHES
    if table is not None and args.output:
        _predict_to_file(classifier, table, column, args)
    elif table is not None:
        for _, answers in _blocks(classifier, table, column, args):
            for answer in answers:
                _show(answer, args.json)
    elif document is not None or args.texts:
        for answer in classifier(args.texts or [document], args.top_k, args.top_chunks):
            _show(answer, args.json)
    else:
        _prompt(classifier, args)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.texts and args.file:
        raise InputError("texts or --file", "both", "Give one of them.")
    if args.output and not args.file:
        raise InputError("--file with --output", "--output alone", "Texts given as words are answered on the screen.")
    if args.output and Path(args.output).suffix not in OUTPUT_KINDS:
        raise InputError(f"--output ending in {', '.join(OUTPUT_KINDS)}", args.output, "Choose one of these endings.")
    if args.output and Path(args.file).suffix == ".txt":
        raise InputError("a table with --output", "a text file, which is one document", "Leave --output out.")


def _show(answer: Answer, as_json: bool) -> None:
    show(json.dumps(answer.to_dict(), ensure_ascii=False) if as_json else str(answer))


def _prompt(classifier: SentimentClassifier, args: argparse.Namespace) -> None:
    """Answer line by line until an empty line or the end of input."""
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


def _blocks(
    classifier: SentimentClassifier, table: pd.DataFrame, column: str, args: argparse.Namespace
) -> Iterator[tuple[pd.DataFrame, list[Answer]]]:
    with tqdm(total=len(table), unit="row", desc="Predicting") as progress:
        for start in range(0, len(table), ROWS_PER_BLOCK):
            block = table.iloc[start : start + ROWS_PER_BLOCK]
            yield block, classifier(block[column].tolist(), args.top_k, args.top_chunks)
            progress.update(len(block))


def _predict_to_file(
    classifier: SentimentClassifier, table: pd.DataFrame, column: str, args: argparse.Namespace
) -> None:
    """Write block by block to a `.partial` file, which gets its final name when the last row is in it."""
    output = Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    columns = columns_of_answers(classifier.task)
    with partial.open("wb", buffering=0) as file, deferred_interrupt() as check:
        whole = 0
        try:
            for block, answers in _blocks(classifier, table, column, args):
                text = _as_text(block, answers, columns, output.suffix, header=whole == 0)
                rest = memoryview(text.encode("utf-8", "replace"))
                while rest:
                    rest = rest[file.write(rest) :]
                whole = file.tell()
                check()
        except BaseException:
            # A full disk or a second Ctrl-C may cut a write short; the file is to end with a whole row.
            file.truncate(whole)
            raise
    os.replace(partial, output)
    show(f"{len(table):,} rows written to {output}")


def _as_text(block: pd.DataFrame, answers: list[Answer], columns: Sequence[str], suffix: str, header: bool) -> str:
    if suffix == ".jsonl":
        return "".join(json.dumps(answer.to_dict(), ensure_ascii=False) + "\n" for answer in answers)
    rows = block.assign(**{name: [answer.row().get(name) for answer in answers] for name in columns})
    text: str = rows.to_csv(index=False, header=header, sep="\t" if suffix == ".tsv" else ",", lineterminator="\n")
    return text
