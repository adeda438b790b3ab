"""Files as other programs write them: what they hold counts, not what they are called."""

import datetime
import gzip
import json
import zipfile

import pandas as pd
import pytest
from hypothesis import Phase, given, settings, strategies as st

from sentiment_hf.batch.row_blocks import open_blocks
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tables import read_table
from sentiment_hf.data.workbooks import MAX_CHARACTERS, write_workbook
from sentiment_hf.utils.exceptions import InputError

ROWS = [
    {"text": "房间很脏，前台冷漠", "label": 0},
    {"text": '早餐"丰富"\n推荐', "label": 1},
    {"text": "一般", "label": 0},
]


def read(path, form=None):
    frame = read_table(path, form)
    assert open_blocks(path, form).rows == len(frame)
    blocks = pd.concat(list(open_blocks(path, form).blocks(2)))
    assert blocks.to_numpy().tolist() == frame.to_numpy().tolist()
    return frame


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_json(value, **options):
    return json.dumps(value, ensure_ascii=False, **options)


JSON = {
    "list": as_json(ROWS),
    "data": as_json({"data": ROWS}),
    "lines": "\n".join(map(as_json, ROWS)),
    "one after another": "\n".join(as_json(row, indent=1) for row in ROWS),
    "with commas": ",\n".join(as_json(row, indent=1) for row in ROWS),
    "on one line": "".join(map(as_json, ROWS)),
    "pandas": pd.DataFrame(ROWS).to_json(force_ascii=False),
    "columns": as_json({"text": [row["text"] for row in ROWS], "label": [row["label"] for row in ROWS]}),
}


@pytest.mark.parametrize("ending", ["json", "json.gz", "jsonl"])
@pytest.mark.parametrize("name", JSON)
def test_json_in_every_shape(tmp_path, name, ending):
    if ending == "jsonl" and name not in ("lines", "one after another", "with commas"):
        return
    content = JSON[name].encode()
    path = put(tmp_path, f"rows.{ending}", gzip.compress(content) if ending.endswith("gz") else content)
    assert read(path).to_dict("records") == ROWS


def test_lines_under_json_are_read_in_blocks(tmp_path):
    assert type(open_blocks(put(tmp_path, "rows.json", JSON["lines"]))).__name__ == "_JsonLinesBlocks"


def test_a_broken_object_among_others_is_named_by_its_line(tmp_path):
    path = put(tmp_path, "rows.json", '{\n "text": "好"\n}\n{\n "text": 好\n}\n')
    with pytest.raises(InputError, match="line 5: .*after 1 of them"):
        read_table(path)


def label_studio(*choices, task=1):
    annotations = [{"result": [{"value": {"choices": list(chosen)}}]} for chosen in choices]
    return {"id": task, "data": {"text": "房间很脏"}, "annotations": annotations}


def test_label_studios_export_is_read(tmp_path):
    cancelled = {"was_cancelled": True, "result": [{"value": {"choices": ["好评"]}}]}
    skipped = {"id": 4, "data": {"text": "一般"}, "annotations": [cancelled]}
    rows = [label_studio(["好评"]), label_studio(["差评"], ["差评"]), label_studio(["好评", "服务"]), skipped]
    found = read(put(tmp_path, "export.json", as_json(rows)))
    assert found["label"].tolist() == ["好评", "差评", ["好评", "服务"], None]
    assert found["text"].tolist() == ["房间很脏"] * 3 + ["一般"]
    with pytest.raises(InputError, match="for task 7. Settle it in Label Studio"):
        read_table(put(tmp_path, "export.json", as_json([label_studio(["好评"], ["差评"], task=7)])))


def test_doccanos_export_is_read(tmp_path):
    rows = [{"id": 0, "text": "房间很脏", "label": ["差评"]}, {"id": 1, "text": "好", "label": ["好评"]}]
    found = read(put(tmp_path, "export.jsonl", "\n".join(map(as_json, rows))))
    assert found["label"].tolist() == [["差评"], ["好评"]]


def test_fasttexts_lines(tmp_path):
    text = "__label__0 房间 很脏\n__label__1  早餐 丰富 \n\n__label__1 __label__快 不错\n"
    found = read(put(tmp_path, "rows.txt", text))
    assert found["label"].tolist() == ["0", "1", ["1", "快"]]
    assert found["text"].tolist() == ["房间 很脏", "早餐 丰富", "不错"]


def test_a_text_without_columns_is_refused_with_what_to_say(tmp_path):
    with pytest.raises(InputError, match="--column_names and --separator"):
        read_table(put(tmp_path, "rows.txt", "1_!_好\n0_!_差\n"))


def test_column_names_are_for_tables_without(tmp_path):
    for name, content in {"rows.jsonl": JSON["lines"], "rows.json": JSON["list"]}.items():
        with pytest.raises(InputError, match="leave column_names out"):
            read_table(put(tmp_path, name, content), TableFormat(column_names=("a", "b")))


# Workbooks.


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.csv", "rows.tsv", "rows.json", "rows.xlsx.gz"])
def test_a_workbook_is_known_by_its_content(tmp_path, name):
    content = write_workbook(pd.DataFrame(ROWS), tmp_path / "written.xlsx").read_bytes()
    path = put(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content)
    assert read(path).to_dict("records") == ROWS


def test_a_csv_called_xlsx_is_read_and_said(tmp_path, caplog):
    path = put(tmp_path, "rows.xlsx", pd.DataFrame(ROWS).to_csv(index=False))
    assert read(path)["text"].tolist() == [row["text"] for row in ROWS]
    assert "holds csv" in caplog.text


def test_parquet_under_another_name(tmp_path):
    path = put(tmp_path, "rows.csv", pd.DataFrame(ROWS).to_parquet())
    assert read_table(path).to_dict("records") == ROWS


def test_cells_of_a_workbook_keep_what_they_mean(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "评论"
    sheet.append([])
    sheet.append(["text", "stars", "price", "good", "day", "time", None])
    sheet.append(["好", 5, 2.5, True, datetime.date(2024, 5, 1), datetime.datetime(2024, 5, 1, 8, 30)])
    sheet.append([])
    sheet.append([12345, 1.0, None, False, None, None])
    book.create_sheet("说明").append(["别的"])
    book.create_sheet("空")
    hidden = book.create_sheet("藏", 0)
    hidden.append(["text"])
    hidden.append(["隐藏"])
    hidden.sheet_state = "hidden"
    path = tmp_path / "rows.xlsx"
    book.save(path)
    found = read_table(path)
    assert found.columns.tolist() == ["text", "stars", "price", "good", "day", "time"]
    assert found.to_numpy().tolist() == [
        ["好", 5, 2.5, True, "2024-05-01", "2024-05-01 08:30:00"],
        [12345, 1, None, False, None, None],
    ]
    assert [type(cell) for cell in found["stars"]] == [int, int]


def test_more_sheets_with_rows_are_said(tmp_path, caplog):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for sheet, text in ((book.active, "一"), (book.create_sheet("第二"), "二")):
        sheet.append(["text"])
        sheet.append([text])
    book.save(tmp_path / "rows.xlsx")
    assert read_table(tmp_path / "rows.xlsx")["text"].tolist() == ["一"]
    assert "'第二' are not read" in caplog.text


def test_a_sheet_without_a_header(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in ([0, "差"], [1, "好"]):
        book.active.append(row)
    book.save(tmp_path / "rows.xlsx")
    found = read(tmp_path / "rows.xlsx", TableFormat(column_names=("label", "text")))
    assert found.to_numpy().tolist() == [[0, "差"], [1, "好"]]
    with pytest.raises(InputError, match="more cells than its 1 columns in row 1"):
        read_table(tmp_path / "rows.xlsx", TableFormat(column_names=("label",)))


@settings(deadline=None, derandomize=True, max_examples=30, phases=[Phase.generate])
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=4))
def test_any_text_goes_through_a_workbook(tmp_path_factory, texts):
    texts = ["=1+1", "_x0041_", "a\r\nb", "\x01", " 空 ", "012", *texts]
    frame = pd.DataFrame({"text": texts, "n": range(len(texts))})
    path = write_workbook(frame, tmp_path_factory.mktemp("book") / "rows.xlsx")
    assert read_table(path).to_dict("records") == frame.to_dict("records")


def test_what_a_sheet_cannot_hold_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(InputError, match="at most 32,767 characters"):
        write_workbook(pd.DataFrame({"text": ["好" * (MAX_CHARACTERS + 1)]}), tmp_path / "rows.xlsx")
    assert not list(tmp_path.iterdir())


def test_large_numbers_stay_whole(tmp_path):
    frame = pd.DataFrame({"id": [2**60 + 1, 7], "text": ["好", "差"]})
    assert read_table(write_workbook(frame, tmp_path / "rows.xlsx"))["id"].tolist() == [str(2**60 + 1), 7]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.xlsx", b"PK\x03\x04 and no more", "a damaged zip file"),
        ("rows.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a workbook that can be read"),
        ("rows.xls", b"<html><table><tr><td>text</td></tr></table>", "a web page under that ending"),
        ("rows.csv", b"", "an empty file"),
        ("rows.parquet", b"text\n1\n", "well-formed parquet"),
    ],
)
def test_what_is_no_table(tmp_path, name, content, said):
    path = put(tmp_path, name, content)
    for reader in (read_table, open_blocks):
        with pytest.raises(InputError, match=said):
            reader(path)


def test_a_zip_file_of_tables_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.csv", "w") as file:
        file.writestr("train.csv", "text,label\n好,1\n")
    with pytest.raises(InputError, match=r"a zip file with train.csv. Unpack it"):
        read_table(tmp_path / "rows.csv")
