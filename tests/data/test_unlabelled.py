import pandas as pd
import pytest
from hypothesis import given, strategies as st

from sentiment_hf.data.decontamination import OverlapIndex
from sentiment_hf.data.splits import matching_key
from sentiment_hf.distillation.batches import build_corpus, passages, spread
from sentiment_hf.utils.exceptions import InputError

EVALUATION_ROW = "前台的服务员态度很好,电梯要等很久,隔壁在装修"


def write(path, texts):
    pd.DataFrame({"text": texts}).to_csv(path, index=False)
    return path.name


def test_a_planted_evaluation_row_does_not_reach_the_corpus(tmp_path):
    changed = "前台的服务员,态度很好!电梯要等很久。隔壁在装修~"
    full_width = EVALUATION_ROW.replace(",", "，").replace("好", "好！")
    inside = "上周住了三晚。" + EVALUATION_ROW + "。下次换一家"
    file = write(tmp_path / "texts.csv", ["键盘手感不错", changed, full_width, inside, "键盘手感不错！", "……", None])
    corpus = build_corpus([file], OverlapIndex([EVALUATION_ROW]), str(tmp_path))
    assert corpus.passages == ["键盘手感不错"]
    assert corpus.counts[file] == {
        "texts": 7, "passages": 6, "equal": 2, "near": 1, "repeated": 1, "blank": 1, "kept": 1,
    }  # fmt: skip
    assert corpus.evaluation_texts == 1


def test_cutting_does_not_hide_a_copy(tmp_path):
    file = write(tmp_path / "texts.csv", [EVALUATION_ROW, "键盘手感不错"])
    corpus = build_corpus([file], OverlapIndex([EVALUATION_ROW]), str(tmp_path), passage_length=6, max_passages=9)
    assert corpus.passages == ["键盘手感不错"]


def test_no_text_left_is_refused(tmp_path):
    file = write(tmp_path / "texts.csv", [EVALUATION_ROW])
    with pytest.raises(InputError, match=r"text to learn from, found none left after removal \(texts 1, equal 1"):
        build_corpus([file], OverlapIndex([EVALUATION_ROW]), str(tmp_path))


@given(st.text(alphabet="好坏。！\n ,a1", max_size=200), st.integers(1, 40))
def test_passages_keep_every_character_and_their_length(text, length):
    pieces = list(passages(text, length))
    assert all(0 < len(piece) <= length for piece in pieces if piece)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_passages_end_between_sentences():
    assert list(passages("很好。不贵！下次再来", 6)) == ["很好。不贵！", "下次再来"]
    assert list(passages("没有句号的长句", 3)) == ["没有句", "号的长", "句"]


def test_spread_takes_from_all_of_a_text():
    assert spread("abcdefgh", 4) == ["a", "c", "e", "g"]
    assert spread("ab", 4) == ["a", "b"]


def test_the_key_of_a_passage_decides_what_repeats(tmp_path):
    file = write(tmp_path / "texts.csv", ["音质 很好，推荐", "音质很好推荐", "ＡＢＣ音质"])
    corpus = build_corpus([file], OverlapIndex([]), str(tmp_path))
    assert [matching_key(text) for text in corpus.passages] == ["音质很好推荐", "abc音质"]
