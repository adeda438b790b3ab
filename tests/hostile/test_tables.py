"""Any bytes under the name of a table: rows, or one sentence that names the file."""

import gzip
import io
import json

import pandas as pd
import pytest
from hypothesis import example, given, strategies as st

from sentiment_hf.batch.row_blocks import open_blocks
from sentiment_hf.data.columns import Columns
from sentiment_hf.data.sources import load_file
from sentiment_hf.data.tables import read_table
from sentiment_hf.utils.exceptions import InputError

from .texts import characters

ROWS = pd.DataFrame({"text": ["房间很吵", "不错", "一般"], "label": ["0", "1", "1"]})
FILES = {
    "csv": ROWS.to_csv(index=False).encode(),
    "tsv": ROWS.to_csv(index=False, sep="\t").encode(),
    "json": ROWS.to_json(orient="records", force_ascii=False).encode(),
    "jsonl": ROWS.to_json(orient="records", lines=True, force_ascii=False).encode(),
}
_buffer = io.BytesIO()
ROWS.to_parquet(_buffer)
FILES["parquet"] = _buffer.getvalue()


def outcome(check, path):
    """What a reader makes of a file, or the sentence in which it refuses."""
    try:
        return check(path)
    except InputError as error:
        said = str(error)
    assert str(path) in said
    assert "\n" not in said
    return said


def read(folder, kind, content):
    """The rows of a file, or None where it was refused in a sentence; read in blocks they are as many, or refused."""
    path = folder / f"rows.{kind}"
    path.write_bytes(content)
    whole, in_blocks = outcome(read_table, path), outcome(lambda path: open_blocks(path).rows, path)
    assert isinstance(in_blocks, str) if isinstance(whole, str) else in_blocks == len(whole)
    frame = outcome(lambda path: load_file(path, Columns(labelled=False)), path)
    if isinstance(frame, str):
        return None
    assert len(frame) == len(whole) >= 1
    assert all(text is None or isinstance(text, str) for text in frame["text"])
    # Whatever was read can be written.
    "".join(text or "" for text in frame["text"]).encode("utf-8")
    return frame


@st.composite
def damaged(draw):
    """A file of some kind with bytes overwritten, cut out or put in."""
    kind = draw(st.sampled_from(sorted(FILES)))
    content = bytearray(FILES[kind])
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 8))
        content[start : start + length] = draw(st.binary(max_size=8))
    zipped = draw(st.booleans())
    if zipped:
        packed = bytearray(gzip.compress(bytes(content), mtime=0))
        if draw(st.booleans()):
            packed[draw(st.integers(2, len(packed) - 1))] ^= 1 << draw(st.integers(0, 7))
        content = packed
    return (f"{kind}.gz" if zipped else kind), bytes(content)


@given(damaged())
def test_damaged_files(tmp_path_factory, file):
    read(tmp_path_factory.mktemp("damaged"), *file)


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=60))
@example("csv", b'text,label\n"no end')
@example("csv", b"text\n\x00\n")
@example("jsonl", b'{"text": ' + b"[" * 5_000)
@example("json", b"[" * 100_000)
@example("json", b"[" + b'{"text": ' * 5_000)
@example("json", b'[{"text": ' + b"9" * 5_000 + b"}]")
@example("parquet", b"PAR1" + b"\xff" * 20 + b"PAR1")
def test_arbitrary_bytes(tmp_path_factory, kind, content):
    read(tmp_path_factory.mktemp("bytes"), kind, content)


@given(
    st.lists(characters.filter(lambda text: text.strip()), min_size=1, max_size=5),
    st.sampled_from(["json", "jsonl", "parquet"]),
)
def test_texts_come_back_as_they_were_written(tmp_path_factory, texts, kind):
    frame = pd.DataFrame({"text": texts})
    if kind == "parquet":
        content = frame.to_parquet()
    elif kind == "json":
        content = json.dumps([{"text": text} for text in texts]).encode()
    else:
        content = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode()
    found = read(tmp_path_factory.mktemp("whole"), kind, content)
    assert found["text"].tolist() == texts


def test_half_a_surrogate_pair_in_json_is_a_question_mark(tmp_path):
    found = read(tmp_path, "jsonl", rb'{"text": "\ud83d good \ud83d\ude00", "label": "\udc00"}')
    assert found["text"].tolist() == ["? good 😀"]


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("jsonl", b"[" * 5_000, "one JSON object a line in .*, found line 1"),
        ("json", b"[" * 100_000, "well-formed json in .*recursion"),
        ("csv", b"text,label,text\na,b,c\n", None),
        ("parquet", b"PAR1 and more", "well-formed parquet in "),
    ],
    ids=["deep jsonl", "deep json", "columns", "parquet"],
)
def test_what_is_said(tmp_path, kind, content, said):
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(content)
    if said is None:
        # pandas gives the second one a name of its own.
        assert read_table(path).columns.is_unique
        return
    with pytest.raises(InputError, match=said):
        read_table(path)


def test_missing_values_of_every_kind_are_missing(tmp_path):
    frame = pd.DataFrame({"text": pd.array([1, None], dtype="Int64"), "when": pd.to_datetime(["2020-01-01", None])})
    frame.to_parquet(tmp_path / "rows.parquet")
    assert load_file(tmp_path / "rows.parquet", Columns(labelled=False))["text"].tolist() == ["1", None]
    assert load_file(tmp_path / "rows.parquet", Columns("when", labelled=False))["text"].tolist()[1] is None
