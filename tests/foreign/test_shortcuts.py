"""audit tells what gives the label away, and nothing where nothing does."""

import json
import random

import pandas as pd
import pytest

from sentiment_hf.cli.main import main
from sentiment_hf.data.shortcuts import find_shortcuts
from sentiment_hf.data.sources import load_file

WORDS = [
    *"房床灯",
    "服务",
    "早餐",
    "前台",
    "位置",
    "价格",
    "电影",
    "手机",
    "快递",
    "味道",
    "一般",
    "不错",
    "很差",
    "喜欢",
    "失望",
]


def posts(count=600, seed=0):
    """Posts that are labelled at random, so that their words tell nothing."""
    chance = random.Random(seed)
    texts = ["，".join(chance.sample(WORDS, 5)) for _ in range(count)]
    return pd.DataFrame({"text": texts, "label": [n % 2 for n in range(count)]})


def with_mark(frame, mark, label, share, right=1.0, seed=1):
    chance = random.Random(seed)
    marked = [
        f"{text}{mark}" if chance.random() < (share if (own == label) else share * (1 - right)) else text
        for text, own in zip(frame["text"], frame["label"], strict=True)
    ]
    return frame.assign(text=marked)


@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        ("[哈哈]", "emoticon"),
        ("#今天真开心#", "hashtag"),
        ("http://t.cn", "url"),
        ("@某某电影", "mention"),
        ("😡", "emoji"),
    ],
)
def test_a_mark_in_some_rows_of_a_label_is_found(mark, kind):
    found = find_shortcuts(with_mark(posts(), mark, 1, 0.2))
    assert [(token["token"], token["kind"], token["label"]) for token in found["tokens"]] == [(mark, kind, "1")]
    token = found["tokens"][0]
    assert token["precision"] == 1.0
    assert 0.08 < token["share"] == found["share"] < 0.12
    assert found["precision"] == 1.0


def test_a_run_that_most_rows_of_a_label_have_is_found_whole():
    found = find_shortcuts(with_mark(posts(), "（来自客户端）", 0, 0.9))
    assert [(token["token"], token["label"]) for token in found["tokens"]] == [("（来自客户端）", "0")]


@pytest.mark.parametrize(
    "frame",
    [
        posts(),
        # In rows of both labels, in few rows, and in so many rows of the larger label as of all.
        with_mark(posts(), "[哈哈]", 1, 0.4, right=0.5),
        with_mark(posts(), "[哈哈]", 1, 0.02),
        with_mark(posts(2000), "[哈哈]", 1, 0.5, right=0.9),
        with_mark(posts().assign(label=[int(n % 50 == 0) for n in range(600)]), "[哈哈]", 0, 0.2),
        with_mark(posts(), "真好", 1, 0.3),
    ],
    ids=["words", "both labels", "few", "nine of ten", "imbalanced", "a usual word"],
)
def test_what_tells_little_is_not(frame):
    assert find_shortcuts(frame)["tokens"] == []
    assert find_shortcuts(frame)["precision"] is None


@pytest.mark.shared
def test_reviews_have_none(shared):
    frame = load_file(shared / "data/chnsenticorp/dev.tsv")
    assert find_shortcuts(frame)["tokens"] == []


def test_audit_shows_them(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    with_mark(posts(), "[怒]", 0, 0.5).to_csv(path, index=False)
    assert main(["audit", "--train_file", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["shortcuts"]
    assert [token["token"] for token in found["tokens"]] == ["[怒]"]
    assert main(["audit", "--train_file", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "Shortcuts" in shown
    assert "[怒]" in shown
    posts().to_csv(path, index=False)
    assert main(["audit", "--train_file", str(path)]) == 0
    assert "Shortcuts" not in capsys.readouterr().out
