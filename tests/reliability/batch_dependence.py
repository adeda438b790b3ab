"""How much the prediction for a text depends on the texts that are read with it.

    python tests/reliability/batch_dependence.py TABLE [--model PATH_OR_ID] [--backend int8] [--text_column NAME]

Each text is read alone and in the batches that a table is read in. Dynamic INT8 takes the range of its activations from
the batch; in FP32 nothing but rounding differs.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from sentiment_hf.data.columns import TEXT_COLUMNS, as_text, pick_column
from sentiment_hf.data.tables import read_table
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.tasks import softmax


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--model", default="starter-reviews", metavar="PATH_OR_ID")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--text_column")
    args = parser.parse_args()
    table = read_table(args.table)
    column = pick_column(table, args.text_column, TEXT_COLUMNS, "text", args.table)
    texts = [text for text in map(as_text, table[column]) if text and text.strip()]
    classifier = SentimentClassifier.from_pretrained(args.model, args.backend)
    scorer = classifier.scorer
    together = scorer.logits(texts)
    alone = np.concatenate([scorer.logits([text]) for text in texts])
    logits = np.abs(together - alone).max(axis=1)
    probabilities = np.abs(softmax(together) - softmax(alone)).max(axis=1)
    changed = int((together.argmax(axis=1) != alone.argmax(axis=1)).sum())
    facts = [
        f"{classifier.backend}, {len(texts):,} texts, batches of {scorer.batch_size}",
        f"logits differ by {logits.max():.2g} at most, {logits.mean():.2g} on average",
        f"probabilities by {probabilities.max():.2g} at most, {probabilities.mean():.2g} on average",
        f"by less than {np.quantile(probabilities, 0.99):.2g} in 99 of 100 texts; {changed} labels differ",
    ]
    sys.stdout.write("; ".join(facts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
