"""What a table has of its own stays in the file of predictions, whatever it is called and whatever kind the file is."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sentiment_hf.batch.prediction_files import free_names
from sentiment_hf.cli.main import main
from sentiment_hf.data.tables import read_table
from sentiment_hf.data.workbooks import write_workbook

TABLE = pd.DataFrame(
    {
        "id": ["01", "02"],
        "text": ["房间很脏", "很好"],
        "label": ["0", "1"],
        "probability": ["p1", "p2"],
        "reason": ["退款", ""],
        "predicted_label": ["旧", "旧"],
    }
)


def predict(model_folder, source, *words):
    return main(["predict", "--model", str(model_folder), "--file", str(source), *map(str, words)])


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "xlsx", "csv.gz"])
def test_columns_of_the_input_are_never_overwritten(model_folder, tmp_path, kind, caplog):
    TABLE.to_csv(tmp_path / "in.csv", index=False)
    assert predict(model_folder, tmp_path / "in.csv", "--output", tmp_path / f"out.{kind}") == 0
    found = read_table(tmp_path / f"out.{kind}")
    own = found[list(TABLE)].map(lambda cell: "" if cell is None else cell)
    assert own.to_numpy().tolist() == TABLE.to_numpy().tolist()
    assert list(found)[len(TABLE.columns) :] == ["predicted_label_2", "probability_2", "reason_2"]
    assert [0 < float(value) <= 1 for value in found["probability_2"]] == [True, True]
    assert "probability is written as probability_2, reason is written as reason_2" in caplog.text


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "xlsx"])
def test_jsonl_keeps_the_other_columns(model_folder, tmp_path, suffix):
    table = TABLE.drop(columns=["label", "probability", "predicted_label"]).assign(stars=[1, None])
    source = tmp_path / f"in.{suffix}"
    if suffix == "jsonl":
        table.to_json(source, orient="records", lines=True, force_ascii=False)
    elif suffix == "csv":
        table.to_csv(source, index=False)
    elif suffix == "parquet":
        table.to_parquet(source)
    else:
        table.to_excel(source, index=False)
    assert predict(model_folder, source, "--output", tmp_path / "out.jsonl") == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [list(row)[:4] for row in rows] == [["text", "id", "reason", "stars"]] * 2
    assert [(row["text"], row["id"]) for row in rows] == [("房间很脏", "01"), ("很好", "02")]
    assert all(row["label"] == row["top"][0]["label"] and 0 < row["probability"] <= 1 for row in rows)
    assert rows[1]["stars"] in (None, "")


def test_jsonl_has_text_in_place_of_the_text_column(model_folder, tmp_path):
    pd.DataFrame({"review": ["很好"], "label": [1]}).to_csv(tmp_path / "in.csv", index=False)
    assert predict(model_folder, tmp_path / "in.csv", "--output", tmp_path / "out.jsonl") == 0
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert list(row) == ["text", "label", "label_2", "probability", "top"]
    assert row["label"] == "1"


def test_only_a_csv_that_people_open_has_the_mark(model_folder, tmp_path, capsys):
    TABLE.to_csv(tmp_path / "in.csv", index=False)
    mark = b"\xef\xbb\xbf"
    for kind in ("csv", "tsv", "jsonl"):
        assert predict(model_folder, tmp_path / "in.csv", "--output", tmp_path / f"out.{kind}") == 0
        content = (tmp_path / f"out.{kind}").read_bytes()
        assert content.count(mark) == content.startswith(mark) == (kind == "csv")
    words = ["--output", tmp_path / "parts", "--num_shards", 2, "--part_kind", "csv"]
    assert predict(model_folder, tmp_path / "in.csv", *words) == 0
    assert all(mark not in part.read_bytes() for part in (tmp_path / "parts").glob("part-*"))
    capsys.readouterr()
    assert predict(model_folder, tmp_path / "in.csv", "--json") == 0
    assert "\ufeff" not in capsys.readouterr().out


def test_parquet_keeps_its_types_beside_the_predictions(model_folder, tmp_path):
    pd.DataFrame({"text": ["好"], "probability": [3]}).to_parquet(tmp_path / "in.parquet")
    assert predict(model_folder, tmp_path / "in.parquet", "--output", tmp_path / "out.parquet") == 0
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert [str(schema.field(name).type) for name in ("probability", "probability_2")] == ["int64", "double"]


def test_a_workbook_in_and_out(model_folder, tmp_path):
    frame = pd.DataFrame({"评价内容": ["=很好", None, "很差"], "单价": [12, 3.5, 0], "满意": [True, False, None]})
    write_workbook(frame, tmp_path / "in.xlsx")
    assert predict(model_folder, tmp_path / "in.xlsx", "--output", tmp_path / "out.xlsx") == 0
    found = read_table(tmp_path / "out.xlsx")
    assert found[["单价", "满意"]].to_numpy().tolist() == [[12, True], [3.5, False], [0, None]]
    assert found["reason"].tolist() == [None, "missing text", None]


def test_a_text_too_long_for_a_workbook_is_refused_before_anything_is_written(model_folder, tmp_path, capsys):
    pd.DataFrame({"text": ["好", "好" * 40_000]}).to_csv(tmp_path / "in.csv", index=False)
    assert predict(model_folder, tmp_path / "in.csv", "--output", tmp_path / "out.xlsx") == 2
    assert "at most 32,767 characters a cell of xlsx" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "model"]


def test_names_that_are_free():
    assert free_names(("a", "b"), ("a", "a_2", "c")) == {"a": "a_3", "b": "b"}
    assert free_names(("a", "a_2"), ("a",)) == {"a": "a_2", "a_2": "a_2_2"}


def test_words_that_are_files_or_options(model_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TABLE.to_csv("reviews.csv", index=False)
    assert main(["predict", "--model", str(model_folder), "reviews.csv"]) == 2
    assert "Was --file reviews.csv meant?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--model", str(model_folder), "-很差"])
    assert ended.value.code == 2
    assert "a text that begins with - stands after --: sentiment-hf predict -- '-很差'" in capsys.readouterr().err
    assert main(["predict", "--model", str(model_folder), "--", "-很差"]) == 0
    assert "Text: -很差" in capsys.readouterr().out


def test_predict_reads_a_text_a_line_where_it_is_told_so(model_folder, tmp_path, capsys):
    (tmp_path / "rows.txt").write_text("很好\n很差\n", encoding="utf-8")
    output = tmp_path / "out.csv"
    assert predict(model_folder, tmp_path / "rows.txt", "--output", output) == 2
    assert "--column_names text reads a text from each line" in capsys.readouterr().err
    assert predict(model_folder, tmp_path / "rows.txt", "--output", output, "--column_names", "text") == 0
    assert read_table(output)["text"].tolist() == ["很好", "很差"]


@pytest.mark.parametrize("kind", ["xlsx", "csv", "jsonl"])
def test_the_page_takes_them_too_and_gives_back_the_kind_that_came(model_folder, tmp_path, kind):
    from sentiment_hf.inference.predictor import SentimentClassifier
    from sentiment_hf.serving.page.models import PageModel
    from sentiment_hf.serving.page.tabs import read_texts, with_predictions, write_table

    path, frame = tmp_path / f"in.{kind}", TABLE[["id", "text", "reason"]]
    if kind == "xlsx":
        write_workbook(frame, path)
    elif kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    table, column = read_texts(path)
    model = PageModel("tiny", SentimentClassifier.from_pretrained(model_folder))
    written = write_table(with_predictions(model, table, column, lambda *_: None), path, tmp_path)
    assert written.suffix == (".xlsx" if kind == "xlsx" else ".csv")
    found = read_table(written)
    assert list(found) == ["id", "text", "reason", "predicted_label", "probability", "reason_2"]
    assert found["reason"].tolist()[0] == "退款"
