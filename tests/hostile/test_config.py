"""A `config.json` that somebody wrote by hand: the model loads and predicts, or one sentence says why not."""

import json
import shutil

import pytest
from hypothesis import example, given, settings, strategies as st

from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.utils.exceptions import InputError

VALUES = [None, True, -1, 0, 1, 7, 1.5, 10**12, float("nan"), "", "word", [], [[]], ["a", 1], {}, {"a": {"b": []}}]
TEXTS = ["房间很吵，再也不来了", "干净又舒服。" * 30]


@pytest.fixture(scope="module")
def saved(tmp_path_factory, make_model, tokenizer):
    from sentiment_hf.data.tokenization import TextSettings
    from sentiment_hf.modeling.config_io import record_settings
    from sentiment_hf.tasks import BUILT_IN_TASKS
    from sentiment_hf.training.folder import save_model

    folder, model = tmp_path_factory.mktemp("config") / "model", make_model()
    record_settings(model.config, tokenizer, BUILT_IN_TASKS["reviews"], TextSettings(max_length=32))
    save_model(folder, model, tokenizer)
    return folder


def sentence_or_none(folder, config):
    """What is said of a model with this config, or None where it predicts."""
    content = config if isinstance(config, bytes) else json.dumps(config, ensure_ascii=False).encode()
    (folder / "config.json").write_bytes(content)
    try:
        predictions = SentimentClassifier.from_pretrained(folder, "torch")(TEXTS)
    except InputError as error:
        said = str(error)
    else:
        assert len(predictions) == len(TEXTS)
        return None
    assert "\n" not in said
    return said


def original(folder):
    path = folder / "config.json"
    kept = path.with_name("config.json.kept")
    if not kept.exists():
        shutil.copy(path, kept)
    return json.loads(kept.read_text(encoding="utf-8"))


@settings(max_examples=30)
@given(data=st.data())
def test_any_value_under_any_key(saved, data):
    config = original(saved)
    place = config
    key = data.draw(st.sampled_from(sorted(config)))
    while isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)))
    if data.draw(st.booleans()):
        place[key] = data.draw(st.sampled_from(VALUES))
    else:
        del place[key]
    sentence_or_none(saved, config)


@settings(max_examples=12)
@given(
    content=st.one_of(st.binary(max_size=30), st.sampled_from([b"null", b"[]", b'"x"', b"{}", b'{"model_type": 1}']))
)
@example(content=b'{"model_type": ' + b"[" * 50_000)
@example(content=b'{"model_type": "bert", "model_type": "nothing"}')
def test_any_bytes(saved, content):
    original(saved)
    assert sentence_or_none(saved, content) is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": 10**9}, "hidden_size of at most"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers of at most"),
        ({"vocab_size": 10}, "a tokenizer of the model"),
        ({"id2label": {"0": "a", "1": "a"}}, "labels and settings .* the labels a, a"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, None),
        ({"sentiment_hf": {"text": {"max_length": "long"}}}, "labels and settings"),
        ({"sentiment_hf": {"text": {"max_length": 10**6}}}, "max_length of at most 64"),
        (
            {"sentiment_hf": {"text": {"max_length": 32}, "calibration": {"temperature": 0}}},
            "labels and settings .*temperature 0",
        ),
        ({"sentiment_hf": 5}, "labels and settings"),
        ({"model_type": "never_heard_of"}, "a model that loads from"),
        ({"hidden_act": "magic"}, "weights that loads? from"),
        ({"layer_norm_eps": ["a", 1]}, "a number as layer_norm_eps"),
    ],
)
def test_what_is_said(saved, change, said):
    found = sentence_or_none(saved, original(saved) | change)
    if said is None:
        return
    assert found is not None
    with pytest.raises(InputError, match=said):
        SentimentClassifier.from_pretrained(saved, "torch")(TEXTS)


def test_what_is_said_of_an_unknown_model_can_be_read(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="Unrecognized model") as error:
        SentimentClassifier.from_pretrained(folder, "torch")
    # transformers counts up hundreds.
    assert len(str(error.value)) < 300 + 200 + len(str(folder))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"version": "1.0", "model": {"type": "WordPiece"}}', b"\xff"]
)
def test_a_tokenizer_file_that_is_none(model_folder, content):
    (model_folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match="a tokenizer that loads from"):
        SentimentClassifier.from_pretrained(model_folder, "torch")


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 100, b'\x08\x00\x00\x00\x00\x00\x00\x00{"a":1}', b"\xff" * 8 + b"{}"]
)
def test_weights_that_are_none(model_folder, content):
    (model_folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="weights that loads? from"):
        SentimentClassifier.from_pretrained(model_folder, "torch")
