import numpy as np
import pytest

from sentiment_hf.data.chunks import align, encode_chunks, move_span, read_chunks
from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.data.tokenization import TextSettings, encode

TEXT = "房间非常好，<b>早餐</b>让人满意！前台服务一塌糊涂，下次还会考虑。" * 3


@pytest.mark.parametrize("truncation", ["right", "left", "head_tail", "sliding"])
def test_chunks_are_what_training_reads(tokenizer, truncation):
    settings = TextSettings(max_length=20, truncation=truncation, max_chunks=3, chunk_choice="spread")
    cleaned, found, count = read_chunks(tokenizer, TEXT, settings)
    ids = [chunk.fields["input_ids"][0].tolist() for chunk in found]
    if truncation == "sliding":
        chunks = encode_chunks(tokenizer, [TEXT], settings)
        assert ids == chunks.fields["input_ids"]
        assert [chunk.span for chunk in found] == chunks.spans
        assert [chunk.chunk_idx for chunk in found] == chunks.chunk_idx
        assert count == chunks.num_chunks[0] > 3
    else:
        assert ids == encode(tokenizer, [TEXT], settings)["input_ids"]
        assert count == 1
    for chunk in found:
        assert [chunk.offsets[0], chunk.offsets[-1]] == [None, None]
        for place in chunk.content:
            start, end = chunk.offsets[place]
            token = tokenizer.decode([chunk.fields["input_ids"][0, place]])
            assert cleaned[start:end] == token.removeprefix("##") or token == tokenizer.unk_token


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("很吵，很好", "很好"),
        ("ＡＢＣ很好！", "很好"),
        ("@张三 好吃得很 http://t.cn/好 很好", "很好"),
        ("<p>房间&nbsp;很好</p>", "很好"),
        ("真的真的真的太棒了！！！！！！", "太棒了"),
        ("這個房間很乾淨", "房间"),
    ],
)
def test_cleaned_words_are_found_in_the_text_as_given(given, word):
    cleaned = clean(given, Cleaning(simplified=True))
    places = align(given, cleaned)
    start = cleaned.index(word)
    found = move_span((start, start + len(word)), cleaned, places)
    assert clean(given[slice(*found)], Cleaning(simplified=True)) == word


def test_what_cleaning_made_up_has_no_place():
    places = align("[哭]我走了", "难过我走了")
    assert move_span((0, 2), "难过我走了", places) is None
    assert move_span((2, 5), "难过我走了", places) == (3, 6)
    assert align("啊<b>" * 3000, "啊 " * 3000) is None


def test_a_blank_text_has_a_chunk_without_content(tokenizer):
    _, found, _ = read_chunks(tokenizer, " ", TextSettings(max_length=20, truncation="sliding"))
    assert len(found) == 1
    assert found[0].content.tolist() == []
    assert found[0].span == (0, 0)
    assert found[0].content.dtype == np.int64
