"""Tables read block by block are the tables that are read at once, in memory that does not grow with them."""

import gzip
import json
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiment_hf.batch.row_blocks import RowCursor, open_blocks
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tables import read_table
from sentiment_hf.utils.exceptions import InputError

ROWS = [
    {
        "text": f'第{n}行\u2028"房间"，\n不好\U00020bb7' if n % 3 else f"={n}",
        "id": n,
        "score": n / 4,
        "good": n % 2 == 0,
    }
    for n in range(11)
]


def write(path, kind, encoding="utf-8"):
    frame = pd.DataFrame(ROWS)
    if kind == "csv":
        path.write_bytes(frame.to_csv(index=False, lineterminator="\r\n").encode(encoding))
    elif kind == "tsv":
        lines = ["\t".join(str(value).replace("\n", " ") for value in row.values()) for row in ROWS]
        path.write_bytes("\n".join(["\t".join(ROWS[0]), *lines, ""]).encode(encoding))
    elif kind == "json":
        path.write_bytes(json.dumps(ROWS, ensure_ascii=False).encode(encoding))
    elif kind == "jsonl":
        path.write_bytes("\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode(encoding))
    else:
        frame.to_parquet(path, row_group_size=4)
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
@pytest.mark.parametrize("start", [0, 4, 10])
def test_blocks_are_the_table(tmp_path, kind, zipped, start):
    path = write(tmp_path / f"rows.{kind}", kind)
    if zipped:
        data, path = path.read_bytes(), tmp_path / f"rows.{kind}.gz"
        path.write_bytes(gzip.compress(data))
    expected = read_table(path)
    source = open_blocks(path)
    blocks = list(source.blocks(3, start))
    assert source.rows == 11
    assert list(source.head.columns) == source.schema.names == list(expected.columns)
    assert max(map(len, blocks)) <= 3
    found = pd.concat(blocks)
    assert found.index.tolist() == list(range(start, 11))
    for name in expected:
        assert found[name].tolist() == expected[name].tolist()[start:]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_cursor_hands_out_the_same_blocks_wherever_it_comes_from(tmp_path, kind):
    source = open_blocks(write(tmp_path / f"rows.{kind}", kind))
    one = RowCursor(source, 3)
    for start, stop in [(1, 6), (6, 7), (7, 7), (9, 11), (0, 11), (0, 2)]:
        blocks = list(one.rows(start, stop))
        assert [row for block in blocks for row in block.index] == list(range(start, stop))
        assert [len(block) for block in blocks[:-1]] == [3] * (len(blocks) - 1)
        assert [str(value) for block in blocks for value in block["id"]] == [str(n) for n in range(start, stop)]


@pytest.mark.parametrize("written", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_encodings_are_told_apart(tmp_path, kind, written):
    path = write(tmp_path / f"rows.{kind}", kind, encoding=written)
    for encoding in ("auto", written):
        found = pd.concat(list(open_blocks(path, TableFormat(encoding)).blocks(5)))
        assert found["text"].tolist() == read_table(path, TableFormat(encoding))["text"].tolist()


BROKEN = {
    "empty.csv": b"",
    "blank.jsonl": b" \n\n",
    "header.csv": b"text,label\n",
    "ragged.csv": b"text\n1\n2,3,4\n",
    "quote.csv": b'text\n"never closed\n',
    "line.jsonl": b'{"text": 1}\n{"text": }\n',
    "list.jsonl": b'{"text": 1}\n[2]\n',
    "bytes.csv": "text\n好".encode() + b"\xff\xff",
    "cut.csv.gz": gzip.compress(b"text\n" + bytes(range(32, 127)) * 99)[:-20],
    "cut.parquet": b"PAR1 and nothing else",
    "kind.docx": b"text\n1\n",
    "object.json": b'{"text": 1}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said_as_for_a_table_read_at_once(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    with pytest.raises(InputError) as at_once:
        read_table(path)
    with pytest.raises(InputError) as by_blocks:
        open_blocks(path)
    assert (by_blocks.value.expected, by_blocks.value.remedy) == (at_once.value.expected, at_once.value.remedy)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "klingon"])
@pytest.mark.parametrize("text", ["酒店" * 400_000, "a" * 1_048_575 + "好"])
def test_a_wrong_byte_is_named_wherever_it_stands(tmp_path, text, encoding):
    """Characters that stand across the pieces that are read at a time."""
    path = tmp_path / "rows.csv"
    path.write_bytes(f"text\n{text}".encode("gb18030" if encoding != "gb18030" else "utf-8") + b"\xff")
    with pytest.raises(InputError) as error:
        open_blocks(path, TableFormat(encoding))
    if encoding == "klingon":
        assert "encoding auto" in str(error.value)
        return
    data = path.read_bytes()
    with pytest.raises(UnicodeDecodeError) as decoding:
        data.decode("utf-8" if encoding == "utf-8-sig" else encoding)
    assert f"at offset {decoding.value.start}," in str(error.value)


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path):
    path = write(tmp_path / "rows.jsonl", "jsonl")
    source = open_blocks(path)
    with path.open("a", encoding="utf-8") as file:
        file.write('\n{"text": "后来的"}\n')
    with pytest.raises(InputError, match="11 rows in .*, found more now"):
        list(source.blocks(4))
    path.write_text('{"text": "只有一行"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="found 1 now"):
        list(source.blocks(4))


def test_parquet_columns_keep_their_values(tmp_path):
    table = pa.table(
        {
            "id": pa.array([2**60 + 1, None, 3], pa.int64()),
            "text": ["很好", None, "很差"],
            "when": pa.array([0, 1, None], pa.timestamp("us", "Asia/Shanghai")),
            "tags": [["一"], [], None],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    source = open_blocks(tmp_path / "rows.parquet")
    block = next(source.blocks(9))
    assert source.schema == table.schema
    assert pa.Table.from_pandas(block, schema=table.schema, preserve_index=False).equals(table)


def test_columns_of_one_name_are_refused(tmp_path):
    pq.write_table(pa.table([["很好"], ["很差"]], names=["text", "text"]), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="'text' twice"):
        open_blocks(tmp_path / "rows.parquet")


def test_memory_does_not_grow_with_the_file(tmp_path):
    """A process that has read files of 1,000 rows needs hardly more for 100,000, which are 30 MB."""
    code = """if True:
        import sys
        from sentiment_hf.batch.row_blocks import open_blocks
        from sentiment_hf.utils.hardware import peak_memory_mb
        for path in sys.argv[1:]:
            print(sum(map(len, open_blocks(path).blocks(256))), peak_memory_mb())
    """
    row = "房间很吵，再也不来了" * 10
    paths = []
    for rows in (1_000, 100_000):
        for kind, line in (("csv", "{}{}\n"), ("jsonl", '{{"text": "{}{}"}}\n')):
            paths.append(tmp_path / f"{rows}.{kind}")
            with paths[-1].open("w", encoding="utf-8") as file:
                file.write("text\n" if kind == "csv" else "")
                file.writelines(line.format(number, row) for number in range(rows))
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    assert [int(rows) for rows, _ in found] == [1_000, 1_000, 100_000, 100_000]
    assert float(found[-1][1]) - float(found[1][1]) < 15, done.stdout
