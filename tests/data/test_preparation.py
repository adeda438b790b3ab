import pandas as pd
import pytest

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.preparation import prepare_splits
from sentiment_hf.data.splits import held_out_split, matching_key, split_rows
from sentiment_hf.tasks import BUILT_IN_TASKS, resolve_task
from sentiment_hf.training.sampler import EpochSampler
from sentiment_hf.utils.exceptions import InputError


def keys(frame):
    return {matching_key(text) for text in frame["text"]}


@pytest.mark.parametrize("method", ["stratified", "hash"])
def test_equal_texts_stay_together_and_the_seed_decides(reviews, method):
    doubled = pd.concat([reviews, reviews.assign(text=reviews["text"] + "!!")]).reset_index(drop=True)
    shares = {"test": 0.1, "validation": 0.2}
    splits = split_rows(doubled, shares, seed=1, method=method)
    assert sum(map(len, splits.values())) == len(doubled)
    assert not keys(splits["train"]) & keys(splits["validation"])
    assert not (keys(splits["train"]) | keys(splits["validation"])) & keys(splits["test"])
    again = split_rows(doubled, shares, seed=1, method=method)
    assert all(splits[name].equals(again[name]) for name in splits)
    other = split_rows(doubled, shares, seed=2, method=method)
    assert keys(other["test"]) != keys(splits["test"])


def test_stratified_split_keeps_label_shares(reviews):
    unbalanced = pd.concat([reviews[reviews["label"] == "negative"], reviews[reviews["label"] == "positive"].head(40)])
    splits = split_rows(
        unbalanced.reset_index(drop=True), {"test": 0.1, "validation": 0.1}, seed=0, method="stratified"
    )
    assert (splits["test"]["label"] == "positive").sum() == 4
    assert (splits["validation"]["label"] == "negative").sum() == 22
    # Of four rows of a label each held-out split has one; three are left to training.
    few = pd.DataFrame({"text": [f"第{number}条" for number in range(7)], "label": ["few"] * 4 + ["fewer"] * 3})
    splits = split_rows(
        pd.concat([unbalanced, few], ignore_index=True), {"test": 0.1, "validation": 0.1}, 0, "stratified"
    )
    found = {split: rows["label"][rows["label"].str.startswith("few")].tolist() for split, rows in splits.items()}
    assert found == {"train": ["few"] * 2 + ["fewer"] * 3, "test": ["few"], "validation": ["few"]}


def test_hash_split_depends_on_the_text_alone(reviews):
    shares = {"test": 0.1, "validation": 0.1}
    whole = split_rows(reviews, shares, seed=42, method="hash")
    half = split_rows(reviews.iloc[::2], shares, seed=42, method="hash")
    assert keys(half["test"]) <= keys(whole["test"])
    assert all(held_out_split(key, shares, 42) == "test" for key in keys(whole["test"]))
    # The rule is part of what others rely on: it must not change from version to version.
    assert [held_out_split(f"文本{number}", shares, 42) for number in (0, 2, 6)] == ["train", "test", "validation"]


def labelled(*rows):
    return pd.DataFrame([{"doc_id": i, "text": text, "label": label} for i, (text, label) in enumerate(rows)])


def test_clean_and_published_protocols():
    train = labelled(("好", 1), ("好！", 1), ("坏", 0), ("坏!", 1), ("漏", 0), ("差", 0), (None, 1), (" ", 0))
    splits = {"train": train, "validation": labelled(("漏。", 0), ("别的", 1)), "test": labelled(("又一个", 1))}
    clean = prepare_splits(splits, BUILT_IN_TASKS["reviews"], protocol="clean")
    assert clean.splits["train"]["text"].tolist() == ["好", "差"]
    assert clean.left_out == {"unlabelled": 0, "blank": 2, "leaked": 1, "conflicting": 2, "repeated": 1}
    published = prepare_splits(splits, BUILT_IN_TASKS["reviews"], protocol="published")
    assert published.splits["train"]["text"].tolist() == ["好", "好！", "坏", "坏!", "漏", "差"]
    assert len(clean.splits["validation"]) == len(published.splits["validation"]) == 2
    assert clean.splits["train"]["doc_id"].tolist() == [0, 5]
    # A row that cleaning empties is as good as none in training, and is still one to be measured on.
    tags = labelled(("好", 1), ("坏", 0), ("<b></b>", 1))
    data = prepare_splits(
        {"train": tags, "validation": tags}, BUILT_IN_TASKS["reviews"], "published", cleaning=Cleaning()
    )
    assert (data.left_out["blank"], len(data.splits["train"]), len(data.splits["validation"])) == (1, 2, 3)


def test_what_cleaning_empties_leaves_training_alone():
    """A score keeps its denominator: rows of the validation split and test are judged, whatever is left of them."""
    splits = {
        "train": labelled(("好", 1), ("http://t.cn/abc", 1), ("坏", 0), ("@某人", 0), ("差", 0)),
        "validation": labelled(("@别人", 0), ("别的", 1), ("", 0)),
        "test": labelled(("又一个", 1), ("http://t.cn/x", 0), ("<br>", 1), ("还有", 0)),
    }
    data = prepare_splits(splits, BUILT_IN_TASKS["reviews"], "published", cleaning=Cleaning())
    assert {split: rows["doc_id"].tolist() for split, rows in data.splits.items()} == {
        "train": [0, 2, 4],
        "validation": [0, 1],
        "test": [0, 1, 2, 3],
    }
    assert data.left_out["blank"] == 2


def test_a_training_file_alone_is_split_in_three(reviews):
    prepared = prepare_splits({"train": reviews.assign(doc_id=range(len(reviews)))}, BUILT_IN_TASKS["reviews"])
    assert set(prepared.splits) == {"train", "validation", "test"}
    assert prepared.made_splits == ("test", "validation")
    assert sum(map(len, prepared.splits.values())) == len(reviews)


def test_a_missing_validation_split_comes_out_of_training_only(reviews):
    rows = reviews.assign(doc_id=range(len(reviews)))
    prepared = prepare_splits({"train": rows.iloc[50:], "test": rows.iloc[:50]}, BUILT_IN_TASKS["reviews"])
    assert len(prepared.splits["test"]) == 50
    assert not keys(prepared.splits["train"]) & keys(prepared.splits["validation"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("好", 1), ("坏", 3)], "in the train rows, found '3' in row 2"),
        ([("好", 1), ("很好", 1), ("太好", 1), ("真好", 1)], "only 'positive'"),
        ([("", 1), (None, 0)], "only blank ones"),
    ],
)
def test_bad_rows_are_refused(rows, message):
    splits = {"train": labelled(*rows), "validation": labelled(("新", 1)), "test": labelled(("旧", 0))}
    with pytest.raises(InputError, match=message):
        prepare_splits(splits, BUILT_IN_TASKS["reviews"])


def test_labels_can_be_mapped_named_or_inferred():
    assert resolve_task("mine", {"差评": "negative", "好评": "positive"}, []).space.id_of("好评") == 1
    assert resolve_task(None, ["坏", "好"], []).space.id_of("好") == 1
    assert resolve_task(None, None, ["b", "a", "b"]).labels == ("a", "b")
    reviews = resolve_task("reviews", None, [])
    assert [reviews.space.id_of(raw) for raw in (0, "1", 1.0, "positive", "2")] == [0, 1, 1, 1, None]
    with pytest.raises(InputError, match="without labels"):
        resolve_task("mine", None, [])


def test_sampler_groups_lengths_without_losing_rows():
    lengths = [index % 60 + 3 for index in range(1003)]
    sampler = EpochSampler(len(lengths), batch_size=8, seed=1, lengths=lengths)
    order = list(sampler)
    assert sorted(order) == list(range(1003))
    assert order != list(EpochSampler(len(lengths), 8, 2, lengths))
    spreads = [max(batch) - min(batch) for batch in ([lengths[i] for i in order[s : s + 8]] for s in range(0, 1000, 8))]
    assert sum(spreads) / len(spreads) < 3
    sampler.set_epoch(3)
    third = list(sampler)
    assert third != order
    fresh = EpochSampler(len(lengths), 8, 1, lengths)
    fresh.set_epoch(3)
    assert list(fresh) == third
