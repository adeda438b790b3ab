"""`sentiment-hf evaluate`: score a saved model on a labelled file; errors, comparison, calibration."""

from __future__ import annotations

import argparse
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment_hf.cli.calibrate import add_calibrate_options, calibrate
from sentiment_hf.cli.common import add_column_options, add_model_options
from sentiment_hf.config.recipe import read_recipe
from sentiment_hf.config.values import BACKENDS
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import move_files, read_json, size_mb, staging_folder, write_json

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from rich.table import Table

    from sentiment_hf.inference.predictor import SentimentClassifier
    from sentiment_hf.tasks import Task

logger = logging.getLogger(__name__)

SYSTEMS = {backend: "fp32" if backend == "torch" else backend for backend in BACKENDS}
FIGURES, CHANGED = "compare.json", "changed.csv"
# What is asked for -> the options that belong to it alone, which are None where they are not given.
OPTIONS = {
    "errors": ("category", "top_k", "examples"),
    "compare": ("compare_backend", "seed"),
    "calibrate": ("test_file", "precision"),
    "runs": ("over_seeds",),
}
_SHOWN = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
_ONE_LABEL = "Scores of each aspect are in `evaluate` without --errors and --compare."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser, required=False)
    parser.add_argument("--data", metavar="FILE", help="labelled file")
    text = "folder for metrics.json and reports (default: MODEL/evaluation/NAME_OF_DATA)"
    parser.add_argument("--output_dir", metavar="FOLDER", help=text)
    group = parser.add_argument_group("errors", "error report: a page with a plot, and csv files")
    group.add_argument("--errors", action="store_true", help="also write the error report")
    group.add_argument("--category", metavar="COLUMN", help="also report scores for each value of this column")
    group.add_argument("--top_k", type=int, metavar="K", help="number of confusions and mistakes to show (default: 10)")
    group.add_argument("--examples", type=int, metavar="N", help="example texts for each confusion (default: 3)")
    group = parser.add_argument_group(
        "comparison", "paired significance tests on the same rows, and the rows whose prediction changed"
    )
    group.add_argument("--compare", metavar="PATH_OR_ID", help="model to compare with")
    group.add_argument("--compare_backend", choices=BACKENDS, help="backend of that model (default: --backend)")
    group.add_argument("--seed", type=int, metavar="N", help="random seed of the bootstrap (default: 42)")
    add_calibrate_options(parser)
    group = parser.add_argument_group("finished runs", "show their metrics in one table instead of evaluating")
    group.add_argument("--runs", nargs="+", metavar="RUN", help="run folders with a metrics.json")
    text = "show mean and standard deviation of runs that differ only in the seed"
    group.add_argument("--over_seeds", action="store_const", const=True, help=text)
    add_column_options(parser)


def run(args: argparse.Namespace) -> int:
    _check(args)
    if args.runs:
        return _show_runs(args)
    log_to_stderr()
    return calibrate(args) if args.calibrate else _evaluate(args)


def _check(args: argparse.Namespace) -> None:
    """Raise InputError for options without what they belong to, and for two things of which one can be done."""
    for asked, options in OPTIONS.items():
        given = [f"--{option}" for option in options if getattr(args, option) is not None]
        if given and not getattr(args, asked):
            raise InputError(f"--{asked} with {given[0]}", f"{given[0]} alone", f"Add --{asked}, or leave it out.")
    alone = next((name for name in ("runs", "calibrate") if getattr(args, name)), None)
    if alone is not None:
        others = [f"--{name}" for name in OPTIONS if name != alone and getattr(args, name)]
        others += [f"--{name}" for name in ("model", "data") if alone == "runs" and getattr(args, name)]
        others += ["--output_dir"] if args.output_dir else []
        if others:
            raise InputError(f"--{alone} alone", f"--{alone} and {others[0]}", "Do one after the other.")
    if alone is None and args.data is None:
        raise InputError("--data", "none", "Name a labelled file.")
    if alone != "runs" and args.model is None:
        raise InputError("--model", "none", "Name the folder of a model, or its Hub id.")
    if (args.top_k or 1) < 1 or (args.examples or 0) < 0 or args.top_k == 0:
        found = f"--top_k {args.top_k} --examples {args.examples}"
        raise InputError("top_k of at least 1 and examples of at least 0", found, "10 and 3 are the defaults.")


def _evaluate(args: argparse.Namespace) -> int:
    from sentiment_hf.data.labelled import task_of_one_label, task_with_rows
    from sentiment_hf.evaluation.report import (
        METRICS_FILE,
        chunk_scores,
        metrics_table,
        milliseconds_per_review,
        rows_fingerprint,
        system_row,
        write_metrics,
    )
    from sentiment_hf.inference.predictor import SentimentClassifier

    if args.output_dir:
        _earlier(Path(args.output_dir))
    classifier = SentimentClassifier.from_pretrained(args.model, args.backend, args.provider)
    task = task_with_rows(classifier.task)
    if args.errors or args.compare:
        task_of_one_label(task, _ONE_LABEL)
    other = None
    if args.compare:
        backend = args.compare_backend or args.backend
        other = SentimentClassifier.from_pretrained(args.compare, backend, args.provider)
        _order(task, task_of_one_label(other.task, _ONE_LABEL))
    rows, blank = _load_rows(task, args)
    scorer = classifier.scorer
    documents = scorer.documents(rows["text"].tolist()) if scorer.settings.is_sliding else None
    logits = scorer.logits(rows["text"]) if documents is None else documents.logits
    times = milliseconds_per_review({"it": classifier}, rows["text"])
    scores = task.scores(logits, rows["label"])
    row = system_row(scores, size_mb(classifier.file) if classifier.file else 0.0, times["it"], None)
    if documents is not None:
        row["chunk_level"] = chunk_scores(documents, rows["label"], task)
    row |= {"backend": classifier.backend, "providers": list(classifier.providers)}

    metrics: dict[str, Any] = {"name": Path(args.model).resolve().name, "task": task.name, "data": Path(args.data).name}
    metrics |= {"blank_rows_left_out": blank, "rows_fingerprint": rows_fingerprint(rows, task)}
    metrics |= {"weights": _weights_digest(args.model), **rows.attrs.get("labels", {})}
    folder = _folder(args, metrics)
    # Another backend with the same rows and weights joins what is there, so that the two can be compared.
    before = _earlier(folder)
    if _is_same(before, metrics):
        metrics = before
    elif before:
        logger.warning("%s has results for other rows or weights and is replaced", folder / METRICS_FILE)
    metrics[SYSTEMS[classifier.backend]] = row
    path = write_metrics(folder, metrics)
    show(metrics_table([metrics]))
    show(f"Written to {path}")
    if args.errors:
        _write_errors(folder, rows, logits / classifier.calibration.temperature, task, args)
    if other is not None:
        _write_comparison(folder, rows, logits, classifier, other, args)
    return 0


def _load_rows(task: Task, args: argparse.Namespace) -> tuple[pd.DataFrame, int]:
    """Read the labelled rows that have text; also return how many have none."""
    from sentiment_hf.data.audit import is_blank
    from sentiment_hf.data.labelled import ReadOptions, load_labelled

    rows = load_labelled(args.data, task, ReadOptions.from_args(args))
    if args.category is not None:
        rows = _with_category(rows, args)
    blank = rows["text"].map(is_blank)
    if blank.all():
        raise InputError(f"texts in {args.data}", "only blank ones", "Check the text column.")
    return rows[~blank].reset_index(drop=True), int(blank.sum())


def _with_category(rows: pd.DataFrame, args: argparse.Namespace) -> pd.DataFrame:
    """Add a column of the file under a name that no column of the error report has."""
    from sentiment_hf.data.columns import as_text, pick_column
    from sentiment_hf.data.table_format import TableFormat
    from sentiment_hf.data.tables import read_table
    from sentiment_hf.evaluation.error_report import category_name

    table = read_table(args.data, TableFormat.from_args(args))
    column = pick_column(table, args.category, (), "category", args.data, option="category")
    values = [as_text(value) or "–" for value in table[column].iloc[rows["doc_id"]]]
    return rows.assign(**{category_name(args.category): values})


def _write_errors(folder: Path, rows: pd.DataFrame, logits: np.ndarray, task: Task, args: argparse.Namespace) -> None:
    from sentiment_hf.evaluation.error_report import category_name, write_report
    from sentiment_hf.evaluation.errors import predictions_frame
    from sentiment_hf.tasks import softmax

    frame = predictions_frame(rows, softmax(logits), task.labels)
    names = {"model": str(args.model), "data": Path(args.data).name}
    category = None if args.category is None else category_name(args.category)
    examples = 3 if args.examples is None else args.examples
    page = write_report(folder, frame, task, names, category, args.top_k or 10, examples)
    show(f"{int((~frame['right']).sum()):,} of {len(frame):,} rows are wrong; see {page}")


def _write_comparison(
    folder: Path,
    rows: pd.DataFrame,
    logits: np.ndarray,
    a: SentimentClassifier,
    b: SentimentClassifier,
    args: argparse.Namespace,
) -> None:
    """Test whether two models differ by more than chance, and write down where their predictions do."""
    from sentiment_hf.data.delimited import write_csv
    from sentiment_hf.evaluation.significance import BROKEN, MENDED, changed_rows, compare

    truth, labels = rows["label"].to_numpy(dtype=int), a.task.labels
    # Both in the order of the first one's labels.
    others = b.scorer.logits(rows["text"])[:, _order(a.task, b.task)]
    seed = 42 if args.seed is None else args.seed
    tests = compare(truth, logits.argmax(axis=1), others.argmax(axis=1), len(labels), seed)
    changed = changed_rows(rows, logits / a.calibration.temperature, others / b.calibration.temperature, labels)
    report: dict[str, Any] = {"a": f"{args.model} ({a.backend})", "b": f"{args.compare} ({b.backend})"}
    report |= {"data": str(args.data), "rows": len(rows)}
    report |= {"changed": len(changed), "mended": int((changed["change"] == MENDED).sum())}
    report |= {"broken": int((changed["change"] == BROKEN).sum()), **tests}
    show(_comparison_table(report))
    show(
        f"{report['changed']:,} of {len(rows):,} predictions differ: {report['mended']:,} are right in b alone, "
        f"{report['broken']:,} in a alone."
    )
    with staging_folder(folder) as staging:
        write_csv(changed, staging / CHANGED)
        write_json(staging / FIGURES, report)
        move_files(staging, folder, last=FIGURES)
    show(f"See {folder / CHANGED}")


def _order(a: Task, b: Task) -> np.ndarray:
    """Where the labels of the first stand among those of the second."""
    import numpy as np

    if set(a.labels) != set(b.labels):
        found = f"{', '.join(a.labels)} and {', '.join(b.labels)}"
        raise InputError("two models of the same labels", found, "Compare models of one task.")
    return np.array([b.label2id[label] for label in a.labels])


def _comparison_table(report: dict[str, Any]) -> Table:
    """Lay out the tests as a table for a screen."""
    from rich.table import Table

    shown = Table(title=f"a: {report['a']}\nb: {report['b']}\n{report['rows']:,} rows of {report['data']}")
    for title in ("score", "a", "b", "b - a", "95 % interval", "p-value", "test"):
        shown.add_column(title, justify="left" if title in ("score", "test") else "right")
    for name, title in _SHOWN.items():
        figures = report[name]
        between = f"{100 * figures['low']:+.2f} to {100 * figures['high']:+.2f}" if "low" in figures else "–"
        test = "paired bootstrap" if "low" in figures else "McNemar, exact"
        cells = [f"{100 * figures[system]:.2f}" for system in ("a", "b")]
        cells += [f"{100 * figures['difference']:+.2f}", between, f"{figures['p_value']:.4f}"]
        shown.add_row(title, *cells, test)
    return shown


def _show_runs(args: argparse.Namespace) -> int:
    from sentiment_hf.evaluation.report import metrics_table, read_metrics, seeds_table

    metrics = [read_metrics(run) for run in args.runs]
    if args.over_seeds:
        show(seeds_table([(_recipe(run), scores) for run, scores in zip(args.runs, metrics, strict=True)]))
    else:
        show(metrics_table(metrics))
    return 0


def _recipe(run: str) -> dict[str, Any]:
    path = Path(run) / "recipe.yaml"
    if not path.is_file():
        raise InputError(f"a run of a recipe at {run}", "no recipe.yaml", "Leave --over_seeds out.")
    return read_recipe(path, known=None)


def _weights_digest(model: str) -> str:
    """Tells whether two evaluations were of the same weights: their content in a folder, or the commit of a Hub id."""
    from sentiment_hf.inference.backends import hub_file
    from sentiment_hf.modeling.names import resolve_model

    folder = Path(resolve_model(model))
    if not folder.is_dir():
        return hub_file(str(folder), ["config.json"], None).parent.name
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def _earlier(folder: Path) -> dict[str, Any]:
    """Read what an evaluation left in a folder; empty where none did.

    Raises:
        InputError: the folder is that of a run, whose figures would be lost.
    """
    from sentiment_hf.evaluation.report import METRICS_FILE
    from sentiment_hf.training.folder import RECIPE_FILE

    if (folder / RECIPE_FILE).is_file():
        remedy = "Name another one, or leave it out."
        raise InputError("a folder for the evaluation with --output_dir", f"a training run at {folder}", remedy)
    try:
        before = read_json(folder / METRICS_FILE)
    except (OSError, ValueError, RecursionError):
        return {}
    return before if isinstance(before, dict) else {}


def _is_same(before: dict[str, Any], metrics: dict[str, Any]) -> bool:
    return all(before.get(key) == value for key, value in metrics.items())


def _folder(args: argparse.Namespace, metrics: dict[str, Any]) -> Path:
    if args.output_dir:
        return Path(args.output_dir)
    name = Path(args.data).name.partition(".")[0]
    model = Path(args.model)
    # Not into the package, where a packaged model lives.
    home = model if model.is_dir() else Path("runs") / args.model.replace("/", "--")
    folder = home / "evaluation" / name
    before = _earlier(folder)
    # Another file of the same name has a folder of its own.
    of_other_rows = before.get("rows_fingerprint", metrics["rows_fingerprint"]) != metrics["rows_fingerprint"]
    return folder.with_name(f"{name}-{metrics['rows_fingerprint'][:8]}") if of_other_rows else folder
