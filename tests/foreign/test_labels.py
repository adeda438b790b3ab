"""Labels as people write them: one spelling each, one reading a file, and nothing shifted."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from transformers import BertConfig

from sentiment_hf.cli.main import main
from sentiment_hf.config.recipe import read_recipe
from sentiment_hf.data.labelled import ReadOptions, load_labelled, map_labels
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import task_of
from sentiment_hf.modeling.loading import load_config
from sentiment_hf.tasks import BUILT_IN_TASKS, SingleLabelTask, resolve_task
from sentiment_hf.tasks.labels import LabelSpace, label_text
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.utils.exceptions import InputError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        (" 1 ", "1"),
        ("１", "1"),
        ("１．０", "1"),
        ("+1", "1"),
        ("−1", "-1"),
        ("－1", "-1"),
        (-1.0, "-1"),
        ("-0", "0"),
        ("0.5", "0.5"),
        ("01", "01"),
        (np.int64(3), "3"),
        (np.float32(2), "2"),
        (np.bool_(True), "true"),
        (True, "true"),
        ("True", "true"),
        ("好评\u3000", "好评"),
        ("差\u200b评\ufeff", "差评"),
        ("two words", "two words"),
        ("第１类", "第1类"),
        ("👨\u200d👩", "👨\u200d👩"),
        (["好评"], "好评"),
        (np.array(["好评"]), "好评"),
        ('["好评"]', "好评"),
        ("['好评']", "好评"),
        ("[哈哈]", "[哈哈]"),
        (b"pos", "pos"),
        (None, None),
        (math.nan, None),
        (pd.NA, None),
        (pd.NaT, None),
        ("", None),
        (" \u200b", None),
        ([], None),
        ("[]", None),
    ],
    ids=repr,
)
def test_one_label_has_one_spelling(value, text):
    assert label_text(value) == text


@pytest.mark.parametrize("value", [["a", "b"], ("a", "b"), '["a", "b"]', np.array([1, 2]), {"name": "a"}, "{'a': 1}"])
def test_several_labels_and_objects_are_refused(value):
    with pytest.raises(InputError, match="one label a row"):
        label_text(value)


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), max_size=6)
names = st.lists(words.filter(label_text), min_size=1, max_size=5, unique_by=label_text)


@given(names, st.data())
@settings(max_examples=200, deadline=None)
def test_what_a_space_writes_reads_back(named, data):
    raw = data.draw(st.lists(words.filter(label_text), min_size=len(named), max_size=8, unique_by=label_text))
    assigned = [*named, *data.draw(st.lists(st.sampled_from(named), min_size=8, max_size=8))][: len(raw)]
    space = LabelSpace.from_labels(dict(zip(raw, assigned, strict=True)))
    rows = data.draw(st.lists(st.sampled_from(raw), min_size=1, max_size=20))
    by_raw = space.read(rows, "raw")
    means = {label_text(value): label_text(name) for value, name in zip(raw, assigned, strict=True)}
    assert [space.names[index] for index in by_raw.ids] == [means[label_text(row)] for row in rows]
    # Its names, as a file that this package writes holds them, give the same ids.
    assert space.read([space.names[index] for index in by_raw.ids], "names").ids == by_raw.ids
    assert LabelSpace(space.names, **json.loads(json.dumps(space.to_dict()))) == space
    # Without a word on it a file is read rightly, or refused where its values are names as well.
    own = {label_text(name): name for name in space.names}
    by_name = [own.get(label_text(row)) for row in rows]
    if None not in by_name and by_name != [space.names[index] for index in by_raw.ids]:
        with pytest.raises(InputError, match="one way"):
            space.read(rows)
    else:
        assert space.read(rows).ids == by_raw.ids


@given(names, st.lists(st.integers(0, 4), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_rows_of_a_file_survive_it(tmp_path_factory, named, places):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    task = SingleLabelTask("custom", LabelSpace.from_labels({str(index): name for index, name in enumerate(named)}))
    frame = pd.DataFrame(
        {"text": [f"文{row}" for row in range(len(places))], "label": [p % len(named) for p in places]}
    )
    path.write_text(task.name_labels(frame).to_json(orient="records", lines=True, force_ascii=False), encoding="utf-8")
    assert load_labelled(path, task)["label"].tolist() == frame["label"].tolist()


def test_a_whole_file_is_read_one_way():
    space = LabelSpace.from_labels({1: 0, 2: 0, 4: 1, 5: 1})
    assert space.read(["1", "2", "4", "5"]).ids == [0, 0, 1, 1]
    assert space.read(["0", "1"]).ids == [0, 1]
    with pytest.raises(InputError, match="'1', which is '0' as a raw value and '1' as a name.*--label_values"):
        space.read(["1", "1"])
    assert space.read(["1", "1"], "raw").ids == [0, 0]
    assert space.read(["1", "1"], "names").ids == [1, 1]
    # In training `labels:` says what raw values are.
    assert space.read(["1", "1"], training=True).ids == [0, 0]
    # Neither reading knows both; it is not put together from two.
    with pytest.raises(InputError, match="'0' in row 2"):
        space.read(["5", "0"])


def test_models_from_elsewhere_are_never_shifted():
    stars = LabelSpace.of_ids(["1 star", "2 stars", "3 stars", "4 stars", "5 stars"])
    assert stars.read([1, 5, 3]).ids == [0, 4, 2]
    assert stars.read([0, 4]).ids == [0, 4]
    assert stars.read(["5 stars", "1 star"]).ids == [4, 0]
    with pytest.raises(InputError, match="one way"):
        stars.read([1, 2, 3, 4])
    assert stars.read([1, 4], "names").ids == [0, 3]
    assert stars.read([1, 4], "raw").ids == [1, 4]
    assert LabelSpace.of_ids(["LABEL_0", "LABEL_1"]).read([0, 1]).ids == [0, 1]
    assert LabelSpace.of_ids(["3星", "1星"]).read(["1", "3"]).ids == [1, 0]
    assert LabelSpace.of_ids(["emotion-1", "emotion-2"]).read([1, 2]).ids == [0, 1]
    assert LabelSpace.of_ids(["neg", "pos"]).read([1, 0]).ids == [1, 0]
    with pytest.raises(InputError, match="one way"):
        LabelSpace.of_ids(["1", "2"]).read(["1"])


def test_rows_without_a_label_are_no_class(caplog):
    caplog.set_level("INFO", "sentiment_hf")
    frame = pd.DataFrame({"text": list("abcdefgh"), "label": [0, None, "", math.nan, [], "nan", 1, "null"]})
    rows = map_labels(frame, BUILT_IN_TASKS["reviews"], "it")
    assert rows["label"].tolist() == [0, 1]
    assert rows["text"].tolist() == ["a", "g"]
    assert "it: 6 rows have no label" in caplog.text
    assert rows.attrs["labels"]["unlabelled_rows"] == 6
    with pytest.raises(InputError, match="none in 2 rows"):
        map_labels(frame[1:3], BUILT_IN_TASKS["reviews"], "it")
    # A class that is called so is a class.
    assert LabelSpace.from_labels({"nan": "bread", "rice": "rice"}).read(["nan", "rice"]).ids == [0, 1]
    assert resolve_task(None, None, ["none", "joy", "", "nan"]).labels == ("joy", "none")


def test_null_leaves_rows_out_and_is_said(caplog):
    caplog.set_level("INFO", "sentiment_hf")
    task = resolve_task("mine", {"1": "bad", "3": None, "5": "good"}, [])
    rows = map_labels(pd.DataFrame({"text": list("abc"), "label": [1, 3, 5]}), task, "it", training=True)
    assert rows["label"].tolist() == [0, 1]
    assert "it: 1 rows are left out" in caplog.text
    assert "3 -> left out: 1 rows" in caplog.text
    assert "1 -> bad: 1 rows" in caplog.text


def test_labels_of_one_file_by_option():
    space = BUILT_IN_TASKS["reviews"].space.with_raw({"一星": "negative", "五星": "positive", "三星": None})
    assert space.read(["五星", "三星", "一星"]).ids == [1, None, 0]
    with pytest.raises(InputError, match="labels among negative, positive"):
        BUILT_IN_TASKS["reviews"].space.with_raw({"一星": "bad"})
    with pytest.raises(InputError, match="a mapping"):
        BUILT_IN_TASKS["reviews"].space.with_raw(["a", "b"])


def test_words_for_reviews_are_known():
    found = BUILT_IN_TASKS["reviews"].space.read(
        ["好评", "差评", "正面", "负面", "正向", "负向", "积极", "消极", "Pos", "NEG", 1, 0]
    )
    assert found.ids == [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]
    with pytest.raises(InputError, match="'中评' in row 2.*好评 2, 中评 1") as refused:
        BUILT_IN_TASKS["reviews"].space.read(["好评", "中评", "好评"], where="shop.csv")
    assert """--labels '{"好评": positive, "中评": NAME}'""" in str(refused.value)


def test_numbers_of_a_built_in_task_are_said_or_refused(caplog):
    caplog.set_level("INFO", "sentiment_hf")
    assert resolve_task("emotion", None, range(6)).name == "emotion"
    assert "0: neutral, 1: angry" in caplog.text
    for codes in (range(4), range(5), [0, 2]):
        with pytest.raises(InputError, match="all 6 numbers"):
            resolve_task("emotion", None, codes)
    caplog.clear()
    resolve_task("emotion", {str(code): name for code, name in enumerate("abcd")}, range(4))
    resolve_task("reviews", None, ["好评", "差评"])
    assert not caplog.text


@pytest.mark.parametrize(
    ("values", "question"),
    [
        ([row / 7 for row in range(200)], "Is this a score"),
        (range(200), "Is this a score"),
        ([0.1, 0.9, 0.3, 0.7, 0.4, 0.8], "Is this a score"),
        ([f"文本{row}" for row in range(100)], "Is this the label column"),
    ],
)
def test_scores_and_texts_are_no_classes(values, question):
    with pytest.raises(InputError, match=question):
        resolve_task(None, None, values)


def test_labels_off_the_rows_are_sorted_as_what_they_are():
    assert resolve_task(None, None, [10, 9, -1, "2", 9.0]).labels == ("-1", "2", "9", "10")
    assert len(resolve_task(None, None, [*range(119)] * 3).labels) == 119
    assert resolve_task(None, None, [0.5, 1.0, 1.5] * 9).labels == ("0.5", "1", "1.5")


def test_labels_that_differ_in_case_are_warned_of(caplog):
    assert len(resolve_task(None, None, ["Good", "good", "bad"]).labels) == 3
    assert "differ only in case" in caplog.text


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"1": "bad", 1.0: "good"}, "one name for each raw value"),
        ({"": "bad", "1": "good"}, "raw values"),
        ({"1": "", "2": "good"}, "label names"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(labels, expected):
    with pytest.raises(InputError, match=expected):
        LabelSpace.from_labels(labels)


def test_a_list_of_names_takes_ids_too_unless_names_are_numbers():
    assert LabelSpace.from_labels(["bad", "good"]).read([1, 0]).ids == [1, 0]
    assert LabelSpace.from_labels(["1", "2", "3"]).read([1, 2], training=True).ids == [0, 1]
    with pytest.raises(InputError, match="'0' in row 1"):
        LabelSpace.from_labels(["1", "2", "3"]).read([0, 1])


def test_yaml_keeps_labels_as_they_are_written(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("labels: {no: bad, yes: good, 1: no, 2.0: yes, ~: null, off: null}\n", encoding="utf-8")
    assert read_recipe(path, None)["labels"] == {
        "no": "bad", "yes": "good", "1": "no", "2.0": "yes", "~": None, "off": None
    }  # fmt: skip
    path.write_text("labels: [no, yes, 1]\n", encoding="utf-8")
    assert read_recipe(path, None)["labels"] == ["no", "yes", "1"]


@pytest.mark.parametrize(
    "text", ["labels: {0：bad, 1：good}", "labels:\n  0：bad\n  1：good", "task：reviews\nmodel: x", "labels：{0: bad}"]
)
def test_a_full_width_colon_is_named(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="full-width colon"):
        parse_run_arguments(["--config", str(tmp_path / "recipe.yaml"), f"--output_dir={tmp_path}"])


def test_files_of_names_say_so(tmp_path):
    task = SingleLabelTask("custom", LabelSpace.from_labels({"1": "2", "2": "1"}))
    frame = pd.DataFrame({"text": ["a", "b"], "label": [0, 1]})
    named = task.name_labels(frame)
    named.to_csv(tmp_path / "rows.csv", index=False)
    assert load_labelled(tmp_path / "rows.csv", task)["label"].tolist() == [0, 1]
    named.drop(columns="label_values").to_csv(tmp_path / "bare.csv", index=False)
    with pytest.raises(InputError, match="one way"):
        load_labelled(tmp_path / "bare.csv", task)
    assert load_labelled(tmp_path / "bare.csv", task, ReadOptions(label_values="names"))["label"].tolist() == [0, 1]
    # What `predict` writes are names as well.
    named.rename(columns={"label": "predicted_label"}).drop(columns="label_values").to_csv(tmp_path / "p.csv")
    read = load_labelled(tmp_path / "p.csv", task, ReadOptions(label_column="predicted_label"))
    assert read["label"].tolist() == [0, 1]
    pd.concat([named, frame.assign(label=["1", "2"])]).to_csv(tmp_path / "both.csv", index=False)
    with pytest.raises(InputError, match="one of raw and names"):
        load_labelled(tmp_path / "both.csv", task)


def test_audit_takes_labels(tmp_path, capsys):
    path = tmp_path / "shop.csv"
    pd.DataFrame({"text": ["a", "b", "c", "d"], "label": ["5", "1.0", "", "3"]}).to_csv(path, index=False)
    assert main(["audit", "--train_file", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["train"]
    assert found["labels"] == {"1": 1, "3": 1, "5": 1}
    assert found["unlabelled_rows"] == 1
    assert main(["audit", "--train_file", str(path), "--json", "--labels={1: bad, 3: null, 5: good}"]) == 0
    assert json.loads(capsys.readouterr().out)["train"]["labels"] == {"bad": 1, "good": 1}
    assert main(["audit", "--train_file", str(path), "--labels={1: bad, 5: good}"]) == 2
    assert "'3' in row 4" in capsys.readouterr().err


def test_predictions_of_any_kind_are_names(tmp_path, model_folder):
    task = SingleLabelTask(
        "custom", LabelSpace(("negative", "positive"), {"negative": "positive", "positive": "negative"})
    )
    pd.DataFrame({"text": ["房间很好", "房间很差"]}).to_csv(tmp_path / "texts.csv", index=False)
    for kind, column in (("csv", "predicted_label"), ("jsonl", None), ("parquet", "predicted_label")):
        output = tmp_path / f"predictions.{kind}"
        words = ["--model", str(model_folder), "--file", str(tmp_path / "texts.csv"), "--output", str(output)]
        assert main(["predict", *words]) == 0
        predictions = SentimentClassifier.from_pretrained(model_folder)(["房间很好", "房间很差"])
        read = load_labelled(output, task, ReadOptions(label_column=column))
        assert [task.labels[index] for index in read["label"]] == [prediction.label for prediction in predictions]


def test_models_of_the_first_edition_know_the_words_and_their_own_labels():
    assert task_of(load_config("starter-reviews")).space.read(["好评", "差评"]).ids == [1, 0]
    config = BertConfig(id2label={0: "-1", 1: "0", 2: "1"})
    config.sentiment_hf = {"task": "custom", "text": {}}
    assert task_of(config).space.read([-1, 0, 1]).ids == [0, 1, 2]


def test_labels_of_one_file_are_given_with_it(tmp_path, caplog):
    caplog.set_level("INFO", "sentiment_hf")
    pd.DataFrame({"text": list("abc"), "label": ["五星", "三星", "一星"]}).to_csv(tmp_path / "shop.csv", index=False)
    options = ReadOptions(labels={"一星": "negative", "三星": None, "五星": "positive"})
    rows = load_labelled(tmp_path / "shop.csv", BUILT_IN_TASKS["reviews"], options)
    assert rows["label"].tolist() == [1, 0]
    assert rows["doc_id"].tolist() == [0, 2]
    assert "五星 -> positive: 1 rows" in caplog.text
