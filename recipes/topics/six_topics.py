"""Six topics of long articles: five from THUCNews, and health from Sogou's news.

    python recipes/topics/six_topics.py THUCNEWS_FOLDER SOGOU_FILE --output_dir OUT

THUCNews, in the ten topics that are in circulation, has no health. Sogou's articles of health fill the place, so that
health alone comes from another source: a model may tell it by the source's style, and its score says less than the
others'.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sentiment_hf.data.sources import load_file
from sentiment_hf.data.splits import held_out_split, matching_key
from sentiment_hf.utils.files import write_text

TOPICS = {"体育": "sport", "财经": "finance", "娱乐": "entertainment", "科技": "tech", "游戏": "game"}
HEALTH = "健康"
SHARES = {"test": 0.2, "validation": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("thucnews", type=Path)
    parser.add_argument("sogou", type=Path)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    rows: dict[str, list[dict[str, str]]] = {}
    for published, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        frame = load_file(args.thucnews / f"{published}.jsonl.gz")
        rows[split] = [
            {"text": text, "label": TOPICS[label]}
            for text, label in zip(frame["text"], frame["label"], strict=True)
            if label in TOPICS
        ]
    sogou = load_file(args.sogou)
    for text in sogou.loc[sogou["label"] == HEALTH, "text"]:
        split = held_out_split(matching_key(text), SHARES, args.seed)
        rows[split].append({"text": text, "label": "health"})
    for split, articles in rows.items():
        lines = "".join(json.dumps(article, ensure_ascii=False) + "\n" for article in articles)
        write_text(args.output_dir / f"{split}.jsonl", lines)


if __name__ == "__main__":
    main()
