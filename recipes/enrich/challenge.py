"""How models classify pairs of sentences that differ in irony, in a turn, or plainly.

    python recipes/enrich/challenge.py tests/data/irony_contrast.jsonl BEFORE=runs/a/42 BEFORE=runs/a/43 AFTER=runs/b/42

With --written FILE, what `sentiment-hf data augment` wrote, the sentences are first compared with it: where eight
characters in a row are in both, a model may have learned the label, and nothing is scored.

Models with one name are averaged. Accuracy by kind of pair, and the share of pairs of which both sentences are right: a
model that goes by single words gets one of them.
"""

from __future__ import annotations

import argparse
import sys

import pandas as pd
from tqdm import tqdm

from sentiment_hf.data.decontamination import OverlapIndex
from sentiment_hf.data.sources import load_texts
from sentiment_hf.data.splits import matching_key
from sentiment_hf.data.tables import read_table
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.utils.console import show
from sentiment_hf.utils.exceptions import InputError, exits_cleanly

# Characters in a row that no sentence may share with what was written.
SHARED = 8


def score(model: str, rows: pd.DataFrame) -> dict[str, float]:
    """Accuracy on all sentences, on each kind of pair, and the share of pairs that are all right."""
    predictions = SentimentClassifier.from_pretrained(model)(rows["text"].tolist())
    right = pd.Series([prediction.label for prediction in predictions], index=rows.index) == rows["label"]
    scores = {"all": right.mean()} | right.groupby(rows["kind"]).mean().to_dict()
    hard = rows["kind"] != "plain"
    pairs = right.groupby(rows["pair"]).all()
    return scores | {"hard pairs": pairs[rows.loc[hard, "pair"].unique()].mean()}


def check_apart(sentences: list[str], written: list[str], file: str) -> None:
    """Raise InputError for a written text that shares eight characters in a row with one of the sentences."""
    evaluation = OverlapIndex(sentences, SHARED)
    shared = [text for text in written if evaluation.match(matching_key(text)) is not None]
    if shared:
        found = f"{len(shared)} that do, for example {shared[0]!r}"
        remedy = f"Augment with --evaluation {{the sentences}} --shingle_length {SHARED}."
        raise InputError(f"texts in {file} that share no {SHARED} characters with the sentences", found, remedy)


@exits_cleanly
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="rows with text, label, kind and pair")
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    # One file each time: several in a row would take the models for files.
    text = "written rows that models learned from; may be given several times"
    parser.add_argument("--written", action="append", default=[], metavar="FILE", help=text)
    args = parser.parse_intermixed_args()
    rows = read_table(args.data)
    if not {"text", "label", "kind", "pair"} <= set(rows.columns):
        found = ", ".join(map(str, rows.columns))
        raise InputError(f"the columns text, label, kind and pair in {args.data}", found, "Check the file.")
    for file in args.written:
        check_apart(rows["text"].tolist(), load_texts(file), file)
    scored: dict[str, list[dict[str, float]]] = {}
    for word in tqdm(args.models, unit="model"):
        name, equals, model = word.partition("=")
        if not equals:
            raise InputError("models as NAME=MODEL", word, "Write plain=runs/mine.")
        scored.setdefault(name, []).append(score(model, rows))
    names = list(next(iter(scored.values()))[0])
    lines = [f"| models | runs | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for name, runs in scored.items():
        table = 100 * pd.DataFrame(runs)
        deviation = table.std(ddof=1).fillna(0.0)
        cells = [f"{table[part].mean():.1f} ± {deviation[part]:.1f}" for part in names]
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    show("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
