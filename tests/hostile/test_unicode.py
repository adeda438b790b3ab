"""Texts that nobody writes, all the way through: an answer for each, chunks and words where they are said to be."""

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from sentiment_hf.data.chunks import encode_chunks, read_chunks
from sentiment_hf.data.tokenization import TextSettings, encode
from sentiment_hf.explain.explainer import Explainer
from sentiment_hf.explain.explanation_views import html_page
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.forward import torch_forward
from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.utils.exceptions import InputError

from .texts import PIECES, texts

WINDOWS = TextSettings(max_length=16, truncation="sliding", stride=4, max_chunks=6, chunk_choice="spread")
CUT = TextSettings(max_length=16, truncation="head_tail")
LISTS = st.lists(st.one_of(st.none(), st.floats(), texts), min_size=1, max_size=6)
EVERYTHING = "".join(PIECES)


@pytest.fixture(scope="module", params=["torch", "int8"])
def classifier(request, tokenizer, make_model):
    """A tiny model with sliding windows, and the INT8 file that comes with the package."""
    if request.param == "int8":
        pytest.importorskip("onnxruntime", reason="needs the onnx extra")
        return SentimentClassifier.from_pretrained(backend="int8")
    scorer = TextScorer(tokenizer, WINDOWS, torch_forward(make_model()))
    return SentimentClassifier(BUILT_IN_TASKS["reviews"], scorer, "torch", ("cpu",))


@given(given=LISTS)
@example(given=[EVERYTHING, None, float("nan"), "", "\x00", "\ud800", "\u200b\u202e"])
def test_as_many_predictions_as_texts(classifier, given):
    predictions = classifier(given)
    assert len(predictions) == len(given)
    for text, prediction in zip(given, predictions, strict=True):
        assert prediction.text == text or not isinstance(text, str)
        if prediction.label is None:
            assert prediction.reason in ("missing text", "empty text", "no text left after cleaning")
        else:
            assert prediction.label in classifier.task.labels
            assert 0 < prediction.probability <= 1
        str(prediction), prediction.to_dict(), prediction.row()


@given(given=st.lists(texts.filter(str.strip), min_size=1, max_size=3))
def test_a_text_has_the_same_prediction_alone_and_among_others(classifier, given):
    if classifier.backend == "int8":
        pytest.skip("INT8 takes its ranges from the whole batch; docs/results/reliability.md has the difference")
    together = classifier([*given, EVERYTHING])
    for text, prediction in zip(given, together, strict=False):
        alone = classifier(text)
        assert alone.reason == prediction.reason
        if alone.label is not None:
            assert dict(alone.top) == pytest.approx(dict(prediction.top), abs=1e-5)


def check_offsets(text, offsets):
    assert all(0 <= start <= end <= len(text) for start, end in offsets)
    starts = [start for start, _ in offsets]
    assert starts == sorted(starts)


@given(given=st.lists(texts, min_size=1, max_size=4))
@example(given=[EVERYTHING, ""])
def test_windows_are_where_they_are_said_to_be(tokenizer, given):
    chunks = encode_chunks(tokenizer, given, WINDOWS)
    assert sorted(set(chunks.documents)) == list(range(len(given)))
    assert len(chunks.num_chunks) == len(chunks.texts) == len(given)
    for row, document in enumerate(chunks.documents):
        start, end = chunks.spans[row]
        assert 0 <= start <= end <= len(chunks.texts[document])
        assert len(chunks.fields["input_ids"][row]) <= WINDOWS.max_length
        assert 0 <= chunks.chunk_idx[row] < chunks.num_chunks[document]
        again = tokenizer(chunks.texts[document][start:end], add_special_tokens=False)["input_ids"]
        # A chunk that begins within a word is cut again as a word of its own.
        if start == 0 and end == len(chunks.texts[document]):
            assert again == chunks.fields["input_ids"][row][1:-1]
    encoded = encode(tokenizer, given, CUT)
    assert len(encoded["input_ids"]) == len(given)
    assert max(map(len, encoded["input_ids"])) <= CUT.max_length


@given(text=texts)
@example(text=EVERYTHING)
def test_tokens_are_where_they_are_said_to_be(tokenizer, text):
    cleaned, chunks, count = read_chunks(tokenizer, text, WINDOWS)
    assert 1 <= len(chunks) <= min(count, WINDOWS.max_chunks)
    for chunk in chunks:
        check_offsets(cleaned, [offset for offset in chunk.offsets if offset is not None])
        assert len(chunk.offsets) == chunk.fields["input_ids"].shape[1]


@settings(max_examples=12)
@given(text=texts)
@example(text=EVERYTHING)
@example(text="é" * 3 + "👨‍👩‍👧‍👦")
def test_explanations_quote_the_text(tokenizer, make_model, text):
    scorer = TextScorer(tokenizer, WINDOWS, torch_forward(make_model()))
    explainer = Explainer(BUILT_IN_TASKS["reviews"], scorer, "torch")
    try:
        explanations = explainer.explain(text, method="occlusion", top_chunks=2)
    except InputError as error:
        assert "a text to explain" in error.expected  # noqa: PT017
        return
    for explanation in explanations:
        shown = explanation.text
        assert 0 <= explanation.start <= explanation.end <= len(shown)
        check_offsets(shown, [(span.start, span.end) for span in explanation.spans])
        assert [span.text for span in explanation.spans] == [shown[span.start : span.end] for span in explanation.spans]
        assert np.isfinite([span.score for span in explanation.spans]).all()
    page = html_page(explanations, "Why?")
    assert "<script" not in page
    assert "onclick" not in page.replace("onclick=alert(1)&gt;", "")


@pytest.mark.parametrize("unit", ["a", "哈", "房间", "👍🏽", "\u0301"])
def test_a_megabyte_of_one_thing(tokenizer, make_model, unit):
    scorer = TextScorer(tokenizer, WINDOWS, torch_forward(make_model()))
    classifier = SentimentClassifier(BUILT_IN_TASKS["reviews"], scorer, "torch", ("cpu",))
    text = unit * (1_000_000 // len(unit))
    predictions = classifier([text, "房间很吵"], top_chunks=2)
    assert [prediction.text for prediction in predictions] == [text, "房间很吵"]
    assert predictions[0].label is not None
    for chunk in predictions[0].chunks:
        assert 0 <= chunk.start < chunk.end <= len(text)
