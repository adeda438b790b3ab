"""Articles whose beginning is of another topic than the rest, which whoever reads the beginning alone gets wrong.

    python recipes/topics/misleading_leads.py FOLDER --output_dir OUT [--seed 42]

FOLDER holds train, dev and test as `.jsonl.gz` with `text` and `label`. Each split's articles are made of its own rows
alone: a lead of exactly `--lead` characters from an article of one topic, then articles of another topic, joined until
there are `--body` characters. The label is the body's.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from sentiment_hf.data.sources import load_file
from sentiment_hf.utils.exceptions import InputError, exits_cleanly
from sentiment_hf.utils.files import write_text

# As published, and as written.
SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def misleading_articles(rows: list[tuple[str, str]], seed: int, lead: int, body: int) -> list[dict[str, str]]:
    """One article for each row of a split, in a seeded order.

    Args:
        rows: text and label; at least two labels.
        seed: another seed draws other companions.
        lead: characters of the lead; shorter articles give none, or a chunk would see the body behind them.
        body: characters of the body at least.

    Raises:
        InputError: no topic beside an article's own has one that is long enough to lead.
    """
    generator = random.Random(seed)
    by_label: dict[str, list[str]] = {}
    leads: dict[str, list[str]] = {}
    for text, label in rows:
        by_label.setdefault(label, []).append(text)
        if len(text) >= lead:
            leads.setdefault(label, []).append(text[:lead])
    if len(leads) < 2:
        found = f"those of {len(leads)}"
        raise InputError(f"articles of {lead} characters in two topics", found, "Give a smaller --lead.")
    articles = []
    for text, label in rows:
        other = generator.choice([name for name in leads if name != label])
        parts = [text]
        while sum(map(len, parts)) < body:
            parts.append(generator.choice(by_label[label]))
        opening = generator.choice(leads[other])
        articles.append({"text": "\n".join([opening, *parts]), "label": label, "lead": other})
    generator.shuffle(articles)
    return articles


@exits_cleanly
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--lead", type=int, default=450, help="more than a chunk of 256 tokens holds")
    parser.add_argument("--body", type=int, default=1200)
    args = parser.parse_args()
    for place, (published, split) in enumerate(SPLITS.items()):
        frame = load_file(args.folder / f"{published}.jsonl.gz")
        rows = list(zip(frame["text"], frame["label"], strict=True))
        articles = misleading_articles(rows, args.seed + place, args.lead, args.body)
        lines = "".join(json.dumps(article, ensure_ascii=False) + "\n" for article in articles)
        write_text(args.output_dir / f"{split}.jsonl", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
