"""csv and tsv: what is written here or by pandas is read back, and no row is merged, cut or lost without a word."""

import io
import logging

import pandas as pd
import pytest
from hypothesis import Phase, assume, example, given, settings, strategies as st

from sentiment_hf.batch.row_blocks import open_blocks
from sentiment_hf.data.delimited import csv_text, delimited_text, plain
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tables import read_table
from sentiment_hf.utils.exceptions import InputError

SEPARATORS = {"csv": ",", "tsv": "\t"}
cells = st.text(st.sampled_from("\"\n\r\t,;|='01 好a\u2028\x85"), max_size=8)
tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=6)
)
# A busy machine is slow at times.
unhurried = settings(deadline=None, derandomize=True, max_examples=60, phases=[Phase.explicit, Phase.generate])
kinds = st.sampled_from(sorted(SEPARATORS))


def read(path, form=None):
    """The rows, read at once and in blocks alike."""
    frame = read_table(path, form)
    blocks = pd.concat(list(open_blocks(path, form).blocks(2)))
    assert blocks.to_numpy().tolist() == frame.to_numpy().tolist()
    return frame


def put(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@unhurried
@given(tables, kinds)
@example([["0", "a\n1\tb"], ["1", "c"]], "tsv")
@example([["0", '"不错'], ["1", '很好"']], "tsv")
@example([["\r"], [""], [" "]], "csv")
@example([['"a"', "b"]], "tsv")
def test_what_is_written_reads_back(tmp_path_factory, rows, kind):
    frame = pd.DataFrame(rows, columns=[f"text{n}" for n in range(len(rows[0]))], dtype=object)
    folder = tmp_path_factory.mktemp("written")
    for name, text in {"plain": delimited_text, "guarded": csv_text}.items():
        path = put(folder, f"{name}.{kind}", text(frame, SEPARATORS[kind]))
        found = read(path)
        found = plain(found) if name == "guarded" else found
        assert found.columns.tolist() == frame.columns.tolist()
        assert found.to_numpy().tolist() == rows


@unhurried
@given(st.lists(cells, min_size=1, max_size=3, unique=True), kinds)
def test_names_of_columns_read_back(tmp_path_factory, names, kind):
    assume(all(names) and not any(name.startswith("Unnamed") for name in names))
    frame = pd.DataFrame([["好"] * len(names)], columns=names)
    path = put(tmp_path_factory.mktemp("names"), f"rows.{kind}", delimited_text(frame, SEPARATORS[kind]))
    assert read(path).columns.tolist() == names


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["0", "1"]), cells.map(lambda cell: f"好{cell}")), min_size=1), kinds)
def test_what_pandas_wrote_is_read_as_pandas_reads_it(tmp_path_factory, rows, kind):
    # What pandas does not read back itself: a lone CR ends a line for it.
    assume(not any("\r" in text for _, text in rows))
    frame = pd.DataFrame(rows, columns=["label", "text"])
    text = frame.to_csv(index=False, sep=SEPARATORS[kind], lineterminator="\n")
    path = put(tmp_path_factory.mktemp("pandas"), f"rows.{kind}", text)
    with open(path, newline="", encoding="utf-8") as file:
        expected = pd.read_csv(file, sep=SEPARATORS[kind], dtype=str, keep_default_na=False)
    assert read(path).to_numpy().tolist() == expected.to_numpy().tolist() == frame.to_numpy().tolist()


@pytest.mark.parametrize("quoting", [0, 1, 2])
@pytest.mark.parametrize("kind", SEPARATORS)
def test_every_way_of_quoting(tmp_path, kind, quoting):
    frame = pd.DataFrame({"text": ['他说"好吃"\n下次还来', "a,b\tc", "一般"], "label": [1, 0, 0]})
    text = frame.to_csv(index=False, sep=SEPARATORS[kind], quoting=quoting, lineterminator="\r\n")
    found = read(put(tmp_path, f"rows.{kind}", text))
    assert found["text"].tolist() == frame["text"].tolist()
    assert found["label"].tolist() == ["1", "0", "0"]


def test_published_tsv_without_quoting_keeps_its_marks(tmp_path, caplog):
    lines = ["label\ttext", '1\t"很好', '0\t他说"差"', '1\t"推荐"的菜', "0\t一般"]
    found = read(put(tmp_path, "rows.tsv", "\n".join(lines)))
    assert found["text"].tolist() == ['"很好', '他说"差"', '"推荐"的菜', "一般"]
    # A pair of marks around a whole text, which no writer needed.
    lines = ["label\ttext", '1\t"很好"', "0\t差", "1\t好", "0\t一般"]
    assert read(put(tmp_path, "rows.tsv", "\n".join(lines)))["text"][0] == '"很好"'
    assert "line 2" in caplog.text


@pytest.mark.shared
@pytest.mark.parametrize(("split", "rows"), [("train", 9600), ("dev", 1200), ("test", 1200)])
def test_chnsenticorp_keeps_its_rows(shared, split, rows):
    path = shared / f"data/chnsenticorp/{split}.tsv"
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8-sig").split("\n") if line]
    found = read_table(path)
    assert len(found) == rows
    assert found.to_numpy().tolist() == lines[1:]


def test_stray_marks_that_would_merge_rows_do_not(tmp_path, caplog):
    rows = [f"第{n}条,{n % 2}" for n in range(8)]
    text = "\n".join(["text,label", *rows, '"不错,0', '一般",1', "好,1"])
    found = read(put(tmp_path, "rows.csv", text))
    assert len(found) == 11
    assert found["label"].tolist()[-3:] == ["0", "1", "1"]
    assert "lines 10 to 11" in caplog.text


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        # Quoting is used in the file, so that rows would be lost or cut.
        (['"好,真的",1', *["好,1", "差,0"] * 3, '"不错,0', '一般",1'], "a quotation mark in line 9 .* line 10"),
        (['"好,真的",1', "差,0", '"推荐"的菜,1'], "line 4: a quotation mark closes a cell that goes on"),
        (['"好,真的",1', "差,0", '"没有关上,1', "好,1"], "line 4: a quotation mark that is not closed"),
        (['"好', '真的"', "差,0"], "line 2: a quotation mark that is closed in line 3, in a row with fewer"),
        (["好,1", "很好,真的,1"], "line 3 with 3 cells where the columns are 2 cells"),
    ],
)
def test_rows_that_would_be_lost_are_refused_with_their_line(tmp_path, lines, said):
    path = put(tmp_path, "rows.csv", "\n".join(["text,label", *lines]))
    for reader in (read_table, open_blocks):
        with pytest.raises(InputError, match=said):
            reader(path)


def test_short_rows_are_counted_and_blank_ones_passed_over(tmp_path, caplog):
    found = read(put(tmp_path, "rows.csv", "text,label\n好,1\n\n   \n差\n一般,0\n差\n"))
    assert found["text"].tolist() == ["好", "差", "一般", "差"]
    assert found["label"].tolist() == ["1", None, "0", None]
    assert "2 rows have fewer cells than columns, the first in line 5" in caplog.text


def test_empty_cells_beyond_the_header_cost_nothing(tmp_path):
    found = read(put(tmp_path, "rows.csv", "text,label\n好,1,,\n差,0\n"))
    assert found.to_numpy().tolist() == [["好", "1"], ["差", "0"]]


@pytest.mark.parametrize("kind", SEPARATORS)
def test_a_return_within_a_line_is_text_and_old_macs_lines_end_so(tmp_path, kind):
    mark = SEPARATORS[kind]
    lines = [f"label{mark}text", f"0{mark}第一行\r第二行", f"1{mark}好"]
    assert read(put(tmp_path, f"a.{kind}", "\n".join(lines)))["text"].tolist() == ["第一行\r第二行", "好"]
    lines[1] = f"0{mark}差"
    assert read(put(tmp_path, f"b.{kind}", "\r".join(lines)))["text"].tolist() == ["差", "好"]


@pytest.mark.parametrize(("mark", "name"), [("\t", "a tab"), (";", "a semicolon"), ("|", "a vertical bar")])
def test_another_separator_than_the_endings_is_found_and_named(tmp_path, caplog, mark, name):
    text = "\n".join([f"label{mark}text", f"0{mark}差, 真的,差", f"1{mark}好"])
    found = read(put(tmp_path, "rows.csv", text))
    assert found["text"].tolist() == ["差, 真的,差", "好"]
    assert f"{name} stands between the cells" in caplog.text


def test_commas_in_a_tsv(tmp_path, caplog):
    found = read(put(tmp_path, "rows.tsv", "label,text\n0,差\n1,好\n"))
    assert found.columns.tolist() == ["label", "text"]
    assert "a comma stands between the cells, not a tab" in caplog.text


def test_what_is_usual_needs_no_word(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    read(put(tmp_path, "rows.csv", 'text,label\n"好;真的;是\t的, 好",1\n差,0\n'))
    read(put(tmp_path, "rows.tsv", "text\tlabel\n好,真的\t1\n"))
    assert not caplog.records


NO_HEADER = TableFormat(separator="_!_", column_names=("id", "code", "name", "title", "words"))


def test_separators_of_several_characters_and_names_from_outside(tmp_path):
    lines = [f'65{n}_!_10{n}_!_news_!_房间"很脏_!_词,词' for n in range(3)]
    found = read(put(tmp_path, "rows.txt", "\n".join(lines)), NO_HEADER)
    assert found["title"].tolist() == ['房间"很脏'] * 3
    assert found["code"].tolist() == ["100", "101", "102"]
    # Found in the file as well, where the names say how many cells there are.
    found = read(tmp_path / "rows.txt", TableFormat(column_names=NO_HEADER.column_names))
    assert found["code"].tolist() == ["100", "101", "102"]


def test_one_text_a_line(tmp_path):
    path = put(tmp_path, "rows.txt", '很好，"真的"\t好\n差, 不来了\n')
    assert read(path, TableFormat(column_names=("text",)))["text"].tolist() == ['很好，"真的"\t好', "差, 不来了"]


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        ("text,label\n好,1\n", TableFormat(column_names=("text", "label")), "the names themselves in the first line"),
        ("好,1,2\n", TableFormat(column_names=("text", "label")), "line 1 with 3 cells"),
        ("a,b\n1,2\n", TableFormat("klingon"), "encoding auto"),
    ],
)
def test_what_does_not_fit_the_file(tmp_path, text, form, said):
    with pytest.raises(InputError, match=said):
        read_table(put(tmp_path, "rows.csv", text), form)


@pytest.mark.parametrize("separator", ["", '"', "\n", 'a"b'])
def test_what_cannot_separate(separator):
    with pytest.raises(InputError, match="a separator without quotation marks"):
        TableFormat(separator=separator)


@pytest.mark.parametrize("names", [(), ("text", "text"), ("text", "")])
def test_names_that_are_none(names):
    with pytest.raises(InputError, match="a different name for each column"):
        TableFormat(column_names=names)


def test_numbers_dates_and_gaps_as_pandas_writes_them():
    frame = pd.DataFrame({"n": [1, 2], "f": [0.5, None], "b": [True, False], "t": ["好", None], "l": [["一"], None]})
    expected = 'n,f,b,t,l\n1,0.5,True,好,"[""一""]"\n2,,False,,\n'
    assert delimited_text(frame) == expected
    assert pd.read_csv(io.StringIO(expected))["f"].tolist()[0] == 0.5
