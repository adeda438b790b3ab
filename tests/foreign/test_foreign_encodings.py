"""Encodings of elsewhere: told apart where they can be, named where not, and never read as characters nobody wrote."""

import pytest

from sentiment_hf.batch.row_blocks import open_blocks
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tables import read_table
from sentiment_hf.utils.exceptions import InputError

SIMPLIFIED = ["房间很脏，前台冷漠", "早餐丰富，推荐", "味道一般，价格偏高"]
TRADITIONAL = ["這間飯店房間很髒，櫃檯冷漠", "早餐豐富，非常推薦給大家", "味道普通，價錢偏高"]
JAPANESE = ["部屋が汚くて、受付の対応も冷たかった", "朝食は種類が豊富でおすすめです", "電源が少ない"]


def put(path, texts, encoding):
    path.write_bytes(
        "\n".join(["text,label", *(f"{text},{n % 2}" for n, text in enumerate(texts)), ""]).encode(encoding)
    )
    return path


def texts_of(path, encoding="auto"):
    form = TableFormat(encoding)
    found = read_table(path, form)["text"].tolist()
    assert [text for block in open_blocks(path, form).blocks(2) for text in block["text"]] == found
    return found


@pytest.mark.parametrize(
    ("texts", "encoding"),
    [
        (SIMPLIFIED, "utf-16"),
        (SIMPLIFIED, "utf-32"),
        (SIMPLIFIED, "gb18030"),
        (SIMPLIFIED, "utf-8-sig"),
        (TRADITIONAL, "gb18030"),
        (TRADITIONAL, "big5"),
        (JAPANESE, "shift_jis"),
    ],
)
def test_auto_tells_them_apart(tmp_path, texts, encoding, caplog):
    assert texts_of(put(tmp_path / "rows.csv", texts, encoding)) == texts
    # What is a guess is said.
    assert (f"read as {encoding}" in caplog.text) == (encoding in ("big5", "shift_jis"))


@pytest.mark.parametrize(
    ("encoding", "texts"),
    [
        ("big5", TRADITIONAL),
        ("cp950", TRADITIONAL),
        ("BIG5", [*TRADITIONAL, "碁"]),
        ("shift_jis", JAPANESE),
        ("utf-16", SIMPLIFIED),
        ("utf-16-le", SIMPLIFIED),
        ("gbk", SIMPLIFIED),
        ("GB2312", SIMPLIFIED),
        ("utf8", SIMPLIFIED),
        ("euc_kr", ["방이 더러워요", "아침이 좋아요"]),
        ("cp1252", ["très bon", "Größe"]),
    ],
)
def test_any_codec_for_text_can_be_named(tmp_path, encoding, texts):
    written = "cp950" if encoding == "BIG5" else encoding
    assert texts_of(put(tmp_path / "rows.csv", texts, written), encoding) == texts


def test_gb18030_without_common_characters_is_warned_of(tmp_path, caplog):
    path = put(tmp_path / "rows.csv", ["齄齇龠龢鹕鹧", "黠黟黢黩黧黥"], "gb18030")
    texts_of(path)
    assert "of its Chinese characters are common" in caplog.text
    caplog.clear()
    texts_of(put(tmp_path / "rows.csv", TRADITIONAL, "big5"), "gb18030")
    assert "of its Chinese characters are common" in caplog.text


@pytest.mark.parametrize("texts", [SIMPLIFIED, TRADITIONAL, ["好"], ["a\xa0b", "囍囧槑" * 2]])
def test_what_is_right_needs_no_word(tmp_path, texts, caplog):
    assert texts_of(put(tmp_path / "rows.csv", texts, "gb18030")) == texts
    assert not caplog.records


@pytest.mark.parametrize(
    ("encoding", "asked", "said"),
    [
        ("utf-16-le", "auto", "utf-16-le"),
        ("utf-8", "ascii", "which is not ascii"),
        ("utf-8", "klingon", "encoding auto"),
        ("utf-8", "rot13", "encoding auto"),
        ("utf-8", "base64", "encoding auto"),
        ("utf-8", "utf-16", "which is not utf-16"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, encoding, asked, said):
    path = put(tmp_path / "rows.csv", [*SIMPLIFIED, "好"], encoding)
    for reader in (read_table, open_blocks):
        with pytest.raises(InputError, match=said):
            reader(path, TableFormat(asked))
