"""What cleaning is worth on your data: labels flipped on purpose, found by `sentiment-hf clean`, restored or dropped.

    python recipes/enrich/cleaning.py --fast --config recipes/reviews/plain.yaml --data_dir FOLDER \
        --train_file train.tsv --validation_file dev.tsv --test_file test.tsv --output_dir runs/cleaning

Ranks and scores with the TF-IDF floor (`--fast`) or with the recipe's own training: for every seed the folds, and one
run for each line of the table. `--fast_scores` ranks with the recipe and scores with the floor, so that the folds are
all that is trained. `--rows 500` takes another sample of so many training rows for every seed. What a training said is
kept in OUTPUT_DIR/answers and finished seeds beside it, so a study that was stopped goes on. With `--llm MODEL` and the
options of `sentiment-hf judge` a language model judges the suspects, with two examples of each label from the dev rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from sentiment_hf.cli_options.enrich import add_judging_options, add_llm_options
from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.enrich.folds import floor_learner, recipe_learner, remembered
from sentiment_hf.enrich.judge import TEMPLATE, Judge, label_words
from sentiment_hf.enrich.opening import open_llm
from sentiment_hf.enrich.protocol import SecondOpinion, cleaning_protocol, protocol_table
from sentiment_hf.exceptions import InputError, exits_cleanly
from sentiment_hf.files import read_json, staging_folder, write_json, write_text
from sentiment_hf.option_values import parse_value
from sentiment_hf.tasks import Task
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.inputs import load_data


@contextmanager
def second_opinion(
    options: argparse.Namespace, task: Task, dev: pd.DataFrame, seed: int
) -> Iterator[SecondOpinion | None]:
    """A judge as the options name it, with examples from the dev rows; None without `--llm`."""
    if not options.llm:
        yield None
        return
    names = [task.labels[label] for label in dev["label"]]
    known = pd.DataFrame({"text": dev["text"], "label": names, "classifier": names})
    words = label_words(task.labels, parse_value(options.label_words, "label_words", (dict,)))
    with open_llm(options, options.output_dir) as llm:
        judge = Judge(llm, words, Path(options.prompt) if options.prompt else TEMPLATE)
        judge.learn(known, 2, seed)
        yield lambda texts: [verdict.label for verdict in judge.verdicts(texts)]


@exits_cleanly
def main() -> int:
    log_to_stderr()
    # Not shortened: --seed is a recipe's key.
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind, allow_abbrev=False)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--fast", action="store_true", help="the TF-IDF floor in place of the recipe's training")
    text = "rank with the recipe's training and score with the floor"
    parser.add_argument("--fast_scores", action="store_true", help=text)
    parser.add_argument("--noise", type=float, default=0.2, help="share of training labels flipped (0.2)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--rows", type=int, help="a sample of so many training rows for every seed")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    add_judging_options(parser)
    add_llm_options(parser)
    options, words = parser.parse_known_args()
    if options.fast and options.fast_scores:
        raise InputError("--fast or --fast_scores", "both", "The former ranks with the floor as well.")
    data = load_data(parse_run_arguments([*words, f"--output_dir={options.output_dir}"]))
    task, train, test = data.task, data.splits["train"], data.splits.get("test", data.splits["dev"])
    if not task.is_single_label:
        raise InputError("a task with one label", "aspects", "The protocol flips one label a row.")
    names = ("fast", "fast_scores", "noise", "rows", "folds", "rounds", "llm", "base_url", "label_words", "prompt")
    settings = {name: getattr(options, name) for name in names}
    settings |= {"words": words}
    results = []
    for seed in tqdm(options.seeds, desc="Cleaning protocol", unit="seed"):
        file = options.output_dir / f"seed-{seed}.json"
        result = read_json(file) if file.is_file() else {}
        if result.get("settings") != settings:
            rows = train if options.rows is None else train.sample(options.rows, random_state=seed)
            rows = rows.reset_index(drop=True)
            with (
                staging_folder(options.output_dir) as staging,
                second_opinion(options, task, data.splits["dev"], seed) as judge,
            ):
                floor, run = floor_learner(task), [*words, f"--seed={seed}"]
                learned = remembered(recipe_learner(run, task, staging), options.output_dir / "answers", run)
                result = cleaning_protocol(
                    rows,
                    test,
                    task,
                    floor if options.fast else learned,
                    options.noise,
                    seed,
                    options.folds,
                    options.rounds,
                    judge=judge,
                    scored=floor if options.fast_scores else None,
                )
            write_json(file, result | {"settings": settings})
        results.append(result)
    table = protocol_table(results, task.metric)
    write_text(options.output_dir / "table.md", table)
    show(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
