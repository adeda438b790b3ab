import pandas as pd
import pytest

from sentiment_hf.data.audit import audit_splits, clean_training_rows
from sentiment_hf.data.sources import load_splits
from sentiment_hf.data.splits import matching_key


def frame(*rows):
    return pd.DataFrame(rows, columns=["text", "label"])


SPLITS = {
    "train": frame(
        ("很好！", 1), ("很好", 1), ("一般", 0), ("一 般。", 1), ("ＯＫ", 1), ("差", 0), ("！！", 0), ("差", 0)
    ),
    "validation": frame(("ok", 0), ("新的", 1)),
    "test": frame(("差。", 0), ("新的!", 1), ("。", 0), ("没见过", 1)),
}


def test_small_case_by_hand():
    report = audit_splits(SPLITS)
    assert report["train"]["rows"] == 8
    assert report["train"]["repeated_rows"] == 3
    assert report["train"]["conflicting_texts"] == 1
    assert report["train"]["labels"] == {"0": 4, "1": 4}
    assert (report["validation"]["in_train"], report["validation"]["in_train_disagree"]) == (1, 1)
    assert (report["test"]["in_train"], report["test"]["in_train_disagree"]) == (2, 0)
    assert report["test"]["in_validation"] == 1
    assert report["clean"]["train_rows"] == 1


def test_clean_rows_by_hand():
    mask, left_out = clean_training_rows(SPLITS)
    assert SPLITS["train"]["text"][mask].tolist() == ["很好！"]
    assert left_out == {"leaked": 4, "conflicting": 2, "repeated": 1}


def test_what_counts_as_the_same_text():
    assert matching_key("ＡＢＣ，很 好！") == matching_key("abc很好")
    assert matching_key("很好_") == "很好"
    assert matching_key("…") == matching_key(None) == ""


def test_token_lengths_and_the_share_that_is_cut():
    report = audit_splits(SPLITS, count_tokens=lambda texts: [len(text) for text in texts], max_length=2)
    assert report["train"]["cut_by_max_length"] == pytest.approx(2 / 8)
    assert report["train"]["tokens"]["max"] == 4


PUBLISHED = {
    "chnsenticorp/{}.tsv": (9600, 1367, 25, 342, 335, 6, 41, 7541),
    "ewect/usual/{}.jsonl": (27766, 797, 87, 133, 252, 18, 18, 26523),
    "ewect/virus/{}.jsonl": (8606, 1090, 54, 204, 469, 25, 213, 7203),
    "thucnews_long/{}.jsonl.gz": (1390, 0, 0, 0, 0, 0, 0, 1390),
}


@pytest.mark.shared
@pytest.mark.parametrize("pattern", PUBLISHED)
def test_real_sets_give_the_published_figures(shared, pattern):
    paths = [str(shared / "data" / pattern.format(split)) for split in ("train", "dev", "test")]
    report = audit_splits(load_splits(None, None, *paths))
    found = (
        report["train"]["rows"],
        report["train"]["repeated_rows"],
        report["train"]["conflicting_texts"],
        report["validation"]["in_train"],
        report["test"]["in_train"],
        report["test"]["in_train_disagree"],
        report["test"]["in_validation"],
        report["clean"]["train_rows"],
    )
    assert found == PUBLISHED[pattern]
