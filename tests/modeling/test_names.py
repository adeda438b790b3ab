import logging

import pytest

from sentiment_hf.modeling import names
from sentiment_hf.utils.exceptions import InputError


@pytest.fixture(autouse=True)
def fresh_cache():
    names.resolve_model.cache_clear()
    yield
    names.resolve_model.cache_clear()


def test_other_names_stay_as_they_are():
    for name in ("hfl/rbt4-h312", "runs/mine", "scratch"):
        assert names.resolve_model(name) == name


def test_the_name_that_the_hub_does_not_know_gets_one_line(caplog):
    with caplog.at_level(logging.WARNING, logger="sentiment_hf"):
        assert names.resolve_model("hfl/chinese-tinybert-l4") == "hfl/rbt4-h312"
        assert names.resolve_model("hfl/chinese-tinybert-l4") == "hfl/rbt4-h312"
    assert [record.getMessage() for record in caplog.records] == [
        "hfl/chinese-tinybert-l4 is not on the Hub; taking hfl/rbt4-h312, the model of that shape"
    ]


def test_missing_packaged_files_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(names.PACKAGED, "starter", tmp_path)
    with pytest.raises(InputError, match="the model starter that comes with the package, found no files in"):
        names.resolve_model("starter")
