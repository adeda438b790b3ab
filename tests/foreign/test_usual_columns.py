"""Columns are found under the names that people give them; where there is a choice, or no header, it is said."""

import pandas as pd
import pytest

from sentiment_hf.data.columns import CellColumns, Columns, pick_column
from sentiment_hf.data.sources import load_file
from sentiment_hf.data.table_format import TableFormat, parse_column_names
from sentiment_hf.utils.exceptions import InputError


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Text", "Label"),
        (" TEXT ", "label "),
        ("\ufefftext", "labels"),
        ("评价内容", "评分"),
        ("评论内容", "星级"),
        ("评价", "标签"),
        ("评论", "类别"),
        ("内容", "情感倾向"),
        ("正文", "类别"),
        ("文本", "情感"),
        ("review_body", "stars"),
        ("Review Body", "Rating"),
        ("reviewBody", "score"),
        ("sentence", "label"),
        ("content", "class"),
        ("ｔｅｘｔ", "ｌａｂｅｌ"),
        ("标题", "分类"),
    ],
)
def test_usual_names(text, label, caplog):
    frame = pd.DataFrame({"id": [1], label: ["1"], text: ["好"]})
    found = Columns().select(frame, "rows.csv")
    assert found[["text", "label"]].to_numpy().tolist() == [["好", "1"]]
    assert not caplog.records


def test_more_than_one_candidate_is_said(caplog):
    frame = pd.DataFrame({"title": ["差评"], "content": ["房间很脏"], "label": [0], "stars": [1]})
    found = Columns().select(frame, "rows.csv")
    assert found[["text", "label"]].to_numpy().tolist() == [["房间很脏", 0]]
    assert "the text is read from the column 'content' and not from 'title'; --text_column names another" in caplog.text
    assert "the label is read from the column 'label' and not from 'stars'; --label_column" in caplog.text


def test_a_column_that_comes_again_is_said(tmp_path, caplog):
    (tmp_path / "twice.csv").write_text("text,text,label\n好,坏,1\n差,坏,0\n", encoding="utf-8")
    assert load_file(tmp_path / "twice.csv")["text"].tolist() == ["好", "差"]
    assert "twice.csv: column 'text' comes again and is called 'text.1' here" in caplog.text


def test_the_second_text_of_a_pair_is_said(caplog):
    frame = pd.DataFrame({"text_a": ["甲"], "text_b": ["乙"], "label": [0]})
    assert pick_column(frame, None, ("text_a", "text_b"), "text", "pair.tsv") == "text_a"
    assert "'text_b'" in caplog.text


def test_a_name_that_was_given_may_differ_in_case_alone_and_wins():
    frame = pd.DataFrame({"Body ": ["甲"], "text": ["乙"], "label": [0]})
    assert pick_column(frame, "body", ("text",), "text", "rows.csv") == "Body "
    frame = pd.DataFrame({"Body": ["甲"], "body": ["乙"]})
    assert pick_column(frame, "body", ("text",), "text", "rows.csv") == "body"
    with pytest.raises(InputError, match="a text column 'BODY'"):
        pick_column(frame, "BODY", ("text",), "text", "rows.csv")


@pytest.mark.parametrize(
    "lines",
    [["0,房间很脏 前台冷漠", "1,好"], ["房间很脏！,负面", "好,正面"], ["3.5,中等"], ["ok,这个房间真的是非常不错的"]],
)
def test_no_header_is_noticed_and_names_can_be_given(tmp_path, lines):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([*lines, "9,末"]), encoding="utf-8")
    with pytest.raises(InputError, match="name the columns: --column_names text,label"):
        load_file(path)
    found = load_file(path, form=TableFormat(column_names=("label", "text")))
    assert len(found) == len(lines) + 1
    assert [found["label"][0], found["text"][0]] == lines[0].split(",")


def test_a_header_with_other_names_is_no_row(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("opinion,grade\n好,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"found the columns opinion, grade. Name it with `text_column:`"):
        load_file(path)


@pytest.mark.parametrize("value", ["text,label", "text， label", "[text, label]", ["text", "label"], ("text", "label")])
def test_names_of_columns_as_people_write_them(value):
    assert parse_column_names(value) == ("text", "label")


def test_stars_of_aspects_are_found_in_any_case():
    from sentiment_hf.tasks import AspectTask

    task = AspectTask({"taste": ("taste",)}, "ordinal", None)
    frame = pd.DataFrame({"Text": ["好"], "Taste": ["1"], "Star": ["5"]})
    labels = CellColumns(task=task, all_required=False).select(frame, "rows.csv")["label"]
    assert labels[0][-1] == task_star(5)


def task_star(stars):
    from sentiment_hf.tasks.aspects import star_value

    return star_value(stars)


def test_what_is_read_and_what_is_not_is_said(caplog):
    caplog.set_level("INFO", "sentiment_hf")
    frame = pd.DataFrame({"评论": ["好"], "star": [5], "city": ["北京"]})
    Columns(label="star").select(frame, "shop.csv")
    assert "shop.csv: text from '评论', labels from 'star'; not read: city" in caplog.text
    caplog.clear()
    Columns().select(
        pd.DataFrame({"doc_id": [0], "text": ["好"], "label": [1], "label_values": ["names"]}), "validation.jsonl"
    )
    assert not caplog.text
