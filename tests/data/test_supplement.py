import copy

import pandas as pd
import pytest

from sentiment_hf.data.dataset import tokenize_frame
from sentiment_hf.data.preparation import add_supplement, prepare_splits
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.utils.exceptions import InputError

ROWS = [
    ("押金三天都没有退，打电话也没有人接听，实在让人生气", 0),
    ("前台说没有房间，可是网上明明写着还有三间", 0),
    ("早餐很丰富，孩子非常喜欢", 1),
    ("床单上有污渍，叫人来换等了一个小时", 0),
    ("空调整夜都在响，根本没有办法睡觉", 0),
    ("", 0),
]


@pytest.fixture
def data():
    def frame(*rows):
        return pd.DataFrame([{"doc_id": i, "text": text, "label": label} for i, (text, label) in enumerate(rows)])

    splits = {
        "train": frame(("今天很开心", 2), ("气死我了", 1), ("空调整夜都在响，根本没有办法睡觉！", 1)),
        # One is the same in other punctuation, one repeats thirteen characters of another.
        "validation": frame(("押金三天都没有退!打电话也没有人接听。实在让人生气", 1)),
        "test": frame(("微博上看到有人说前台说没有房间，可是网上明明写着，转", 1)),
    }
    return prepare_splits(splits, BUILT_IN_TASKS["emotion"], "published")


@pytest.fixture
def source(tmp_path):
    pd.DataFrame(ROWS, columns=["review", "label"]).to_csv(tmp_path / "hotel.csv", index=False)
    return tmp_path


def test_rows_that_are_measured_on_stay_out_and_are_counted(data, source):
    add_supplement(data, {"source": "hotel.csv", "where": {"label": 0}, "label": "angry"}, str(source))
    assert data.splits["train"]["text"].tolist()[3:] == [ROWS[3][0]]
    assert data.splits["train"]["label"].tolist() == [2, 1, 1, 1]
    assert data.splits["train"]["doc_id"].is_unique
    assert data.audit["supplement"] == {
        "source": "hotel.csv",
        "found": 5,
        "blank": 1,
        "equal_to_evaluation": 1,
        "near_to_evaluation": 1,
        "repeated": 1,
        "added": 1,
        "share": 0.25,
    }


def test_the_limit_is_a_seeded_sample_and_labels_are_the_sources_own(data, source):
    rows = pd.DataFrame({"review": [f"第{number}条评论写得不一样" for number in range(50)], "label": 3})
    rows.to_csv(source / "many.csv", index=False)
    taken = []
    for seed in (1, 1, 2):
        copy = type(data)({k: v.copy() for k, v in data.splits.items()}, data.task, {}, {}, ())
        add_supplement(copy, {"source": "many.csv", "limit": 10, "seed": seed}, str(source))
        taken.append(copy.splits["train"]["text"].tolist()[3:])
        assert set(copy.splits["train"]["label"][3:]) == {3}
    assert taken[0] == taken[1] != taken[2]
    assert len(taken[0]) == 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"where": {"label": 0}}, "Expected a `source`"),
        ({"source": "hotel.csv", "were": {}}, "found were"),
        ({"source": "hotel.csv", "limit": 0}, "limit"),
        ({"source": "hotel.csv", "where": "label"}, "a mapping for `where`"),
        ({"source": "hotel.csv", "where": {"cat": 1}}, "found the columns review, label"),
        ({"source": "hotel.csv", "where": {"label": "negative"}}, "compared as they stand in the source"),
        ({"source": "hotel.csv", "label": "furious"}, "'furious' in row 1"),
        ({"source": "nothing.csv"}, "nothing there"),
    ],
)
def test_bad_settings_are_refused(data, source, settings, message):
    with pytest.raises(InputError, match=message):
        add_supplement(data, settings, str(source))


def test_weights_come_along_and_are_checked(data, tmp_path):
    rows = pd.DataFrame({"text": ["服务很周到", "隔壁太吵了"], "label": ["happy", "angry"], "weight": [0.5, 0.25]})
    rows.to_json(tmp_path / "augmented.jsonl", orient="records", lines=True, force_ascii=False)
    add_supplement(data, {"source": "augmented.jsonl"}, str(tmp_path))
    train = data.splits["train"]
    assert train["weight"].tail(2).tolist() == [0.5, 0.25]
    assert train["weight"].head(3).isna().all()
    assert data.audit["supplement"]["share"] == 0.4
    assert "weight" not in data.splits["validation"].columns
    rows.assign(weight=[0.5, 2]).to_json(tmp_path / "augmented.jsonl", orient="records", lines=True)
    with pytest.raises(InputError, match="weights from 0 to 1 in .*, found 2"):
        add_supplement(data, {"source": "augmented.jsonl"}, str(tmp_path))


def test_explanations_are_a_second_segment_where_they_are_asked_for(data, tmp_path, tokenizer):
    rows = pd.DataFrame({"text": ["房间非常好", "房间非常差" * 9], "label": ["happy", "angry"]})
    rows["explanation"] = ["早餐让人满意", "电池让人失望" * 9]
    rows.to_json(tmp_path / "augmented.jsonl", orient="records", lines=True, force_ascii=False)
    with pytest.raises(InputError, match="explanations true or false, found 'yes'"):
        add_supplement(data, {"source": "augmented.jsonl", "explanations": "yes"}, str(tmp_path))
    plain, explained = (copy.deepcopy(data) for _ in range(2))
    add_supplement(plain, {"source": "augmented.jsonl"}, str(tmp_path))
    assert "explanation" not in plain.splits["train"].columns
    add_supplement(explained, {"source": "augmented.jsonl", "explanations": True}, str(tmp_path))
    settings = TextSettings(max_length=32)
    before, after = (
        tokenize_frame(part.splits["train"], tokenizer, settings, "train", cache_dir=str(tmp_path))
        for part in (plain, explained)
    )
    sliding = TextSettings(max_length=32, truncation="sliding")
    with pytest.raises(InputError, match="with explanations, found sliding"):
        tokenize_frame(explained.splits["train"], tokenizer, sliding, "train", cache_dir=str(tmp_path))
    assert before.column_names == after.column_names
    # Rows without an explanation are as they were.
    assert [after[row] for row in range(3)] == [before[row] for row in range(3)]
    ids, types = after[3]["input_ids"], after[3]["token_type_ids"]
    pair = tokenizer("房间非常好", "早餐让人满意")
    assert ids == pair["input_ids"]
    assert types == pair["token_type_ids"]
    # Both are cut to fit, and both separators stay.
    long = after[4]
    assert len(long["input_ids"]) == len(long["attention_mask"]) == long["length"] == 32
    assert sum(long["token_type_ids"]) == 8
    assert [place for place, token in enumerate(long["input_ids"]) if token == tokenizer.sep_token_id] == [23, 31]
