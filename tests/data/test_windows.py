from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from sentiment_hf.data.chunks import document_rows, encode_chunks
from sentiment_hf.data.collation import DocumentCollator
from sentiment_hf.data.tokenization import TextSettings, choose_chunks, chunk_bounds, encode
from sentiment_hf.utils.exceptions import InputError

LONG = "房间很干净，早餐也不错，就是隔音差了一点。前台服务非常好，下次还会考虑。" * 4


@given(st.integers(0, 500), st.integers(1, 60), st.data())
def test_every_token_is_in_a_window_and_neighbours_overlap_by_the_stride(length, size, data):
    stride = data.draw(st.integers(0, size - 1))
    bounds = chunk_bounds(length, size, stride)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == length
    assert {token for start, end in bounds for token in range(start, end)} == set(range(length))
    assert all(end - start == size for start, end in bounds[:-1])
    assert [end - start for (_, end), (start, _) in pairwise(bounds)] == [stride] * (len(bounds) - 1)


@given(st.integers(1, 50), st.integers(1, 50), st.sampled_from(["first", "spread", "head_tail"]))
def test_chosen_chunks_are_different_ones_in_order(count, limit, choice):
    places = list(choose_chunks(count, limit, choice))
    assert len(places) == min(count, limit) == len(set(places))
    assert places == sorted(places)
    assert set(places) <= set(range(count))
    assert places[0] == 0
    if choice != "first" and limit > 1:
        assert places[-1] == count - 1


def test_which_chunks_are_kept():
    assert list(choose_chunks(9, 3, "first")) == [0, 1, 2]
    assert list(choose_chunks(9, 3, "spread")) == [0, 4, 8]
    assert list(choose_chunks(9, 3, "head_tail")) == [0, 1, 8]
    assert list(choose_chunks(9, None, "spread")) == list(range(9))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=120), min_size=1, max_size=4), st.integers(3, 40), st.data())
def test_chunks_hold_the_whole_document_and_point_where_they_say(tokenizer, texts, max_length, data):
    stride = data.draw(st.integers(0, max_length - 3))
    sliding = TextSettings(max_length=max_length, truncation="sliding", stride=stride)
    chunks = encode_chunks(tokenizer, texts, sliding)
    whole = encode(tokenizer, texts, TextSettings(max_length=10_000))["input_ids"]
    assert all(len(ids) <= max_length for ids in chunks.fields["input_ids"])
    assert len(chunks.num_chunks) == len(chunks.texts) == len(texts)
    for document, ids in enumerate(whole):
        own = [row for row, of in enumerate(chunks.documents) if of == document]
        assert [chunks.chunk_idx[row] for row in own] == list(range(chunks.num_chunks[document]))
        content = chunks.fields["input_ids"][own[0]][1:-1]
        for row in own[1:]:
            content += chunks.fields["input_ids"][row][1 + stride : -1]
        assert content == ids[1:-1]
        for row in own:
            start, end = chunks.spans[row]
            chunk = chunks.texts[document][start:end]
            again = tokenizer(chunk, add_special_tokens=False)["input_ids"]
            # A chunk may begin in the middle of a word, which alone is cut in another way.
            if "##" not in "".join(tokenizer.convert_ids_to_tokens(chunks.fields["input_ids"][row])):
                assert again == chunks.fields["input_ids"][row][1:-1]


def test_a_text_that_fits_is_encoded_as_without_windows(tokenizer):
    plain, sliding = TextSettings(max_length=64), TextSettings(max_length=64, truncation="sliding")
    texts = ["房间很干净", "", "前台服务非常好"]
    assert encode_chunks(tokenizer, texts, sliding).fields == encode(tokenizer, texts, plain)


def test_documents_become_a_batch_of_chunks_that_know_whose_they_are(tokenizer):
    sliding = TextSettings(max_length=32, truncation="sliding", stride=8, max_chunks=3, chunk_choice="head_tail")
    rows = document_rows(tokenizer, [LONG, "很好", LONG], sliding)
    assert rows["num_chunks"][0] > 3
    assert rows["length"][1] == len(rows["input_ids"][1][0])
    examples = [{name: values[place] for name, values in rows.items()} for place in range(3)]
    for place, example in enumerate(examples):
        example |= {"labels": place % 2, "doc_id": 10 + place}
    batch = DocumentCollator(tokenizer, 8, 32)(examples)
    assert batch["labels"].tolist() == [0, 1, 0]
    assert batch["doc_id"].tolist() == [10, 11, 12]
    assert batch["chunk_document"].tolist() == [0, 0, 0, 1, 2, 2, 2]
    last = rows["num_chunks"][0] - 1
    assert batch["chunk_idx"].tolist() == [0, 1, last, 0, 0, 1, last]
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (7, 32)
    assert next(iter(batch)) == "labels"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 30}, r"below the chunk's 30 tokens, found 30"),
        ({"stride": -1}, "a stride"),
        ({"max_chunks": 0}, "max_chunks of at least 1"),
        ({"chunk_choice": "best"}, "chunk_choice first"),
        ({"aggregation": "sum"}, "aggregation mean"),
    ],
)
def test_bad_windows_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TextSettings(max_length=32, truncation="sliding", **options)
