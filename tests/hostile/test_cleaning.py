"""Cleaning of texts that nobody writes: it ends, changes nothing the second time, and what is left can be written."""

import itertools
import time

import pytest
from hypothesis import example, given, strategies as st

from sentiment_hf.data.chunks import align, move_span
from sentiment_hf.data.cleaning import CHOICES, Cleaning, clean
from sentiment_hf.data.tokenization import TextSettings, cleaned_texts

from .texts import PIECES, texts

ALL = Cleaning(simplified=True, retweets="own_first", topics="words", emoji="words", short_links=True)
SWITCHES = st.builds(
    Cleaning,
    **{name: st.booleans() for name in Cleaning().to_dict() if name not in CHOICES},
    **{name: st.sampled_from(values) for name, values in CHOICES.items()},
)
MEGABYTE = 1_000_000


@given(texts, SWITCHES)
@example("<b" * 50 + ">" * 50, Cleaning())
@example("&" + "amp;" * 50 + "lt;b" * 30, ALL)
@example("&#" + "9" * 5_000 + ";", Cleaning())
@example("&#0" * 50 + "&#x" + "f" * 5_000, ALL)
@example("ht\u200btp://a.cn @\u200ba", ALL)
@example("//@a" * 40 + "#" * 41, ALL)
@example("[" * 40 + "泪" + "]" * 40, ALL)
def test_the_second_time_changes_nothing(text, switches):
    once = clean(text, switches)
    assert clean(once, switches) == once
    if switches.whitespace:
        assert once == once.strip()
        assert not any(ord(char) < 32 for char in once)


@given(st.lists(texts, max_size=6))
def test_a_text_each_and_all_of_them_characters(given_texts):
    cleaned = cleaned_texts(given_texts, TextSettings(cleaning=ALL))
    assert len(cleaned) == len(given_texts)
    for text in cleaned:
        text.encode("utf-8")


@pytest.mark.parametrize("unit", ["a", "哈", "<b", "@a", "&#1", "#", "www.", "\u202e"])
def test_a_great_deal_of_one_thing(unit):
    # A pattern that begins anew at every letter takes hours for this; process time is not that of other processes.
    started = time.process_time()
    text = unit * ((MEGABYTE if unit in "a哈" else MEGABYTE // 10) // len(unit))
    once = clean(text, ALL)
    assert clean(once, ALL) == once
    assert time.process_time() - started < 120


@given(texts)
@example("".join(PIECES))
def test_places_in_the_given_text_are_places_in_it(text):
    cleaned = clean(text, Cleaning())
    places = align(text, cleaned)
    if places is None:
        return
    assert len(places) == len(cleaned)
    known = [place for place in places if place is not None]
    assert all(0 <= place < len(text) for place in known)
    assert all(first <= second for first, second in itertools.pairwise(known))
    span = move_span((0, len(cleaned)), cleaned, places)
    assert span is None or 0 <= span[0] < span[1] <= len(text)


def test_places_are_not_looked_for_where_that_takes_too_long():
    text = "a  b  " * 800
    started = time.process_time()
    align(text, clean(text, Cleaning()))
    assert time.process_time() - started < 120
