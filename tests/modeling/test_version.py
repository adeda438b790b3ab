"""Models tell which version saved them: older ones load, newer ones say what to install."""

import json

import pytest

from sentiment_hf import InputError, SentimentClassifier, __version__
from sentiment_hf.modeling.config_io import recorded_settings
from sentiment_hf.modeling.loading import VERSION_KEY, check_version, load_config
from sentiment_hf.modeling.names import STARTER_FOLDER


def rewrite(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}), encoding="utf-8")


def test_a_saved_model_tells_its_version(model_folder):
    config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
    assert config[VERSION_KEY] == __version__


@pytest.mark.parametrize("found", [None, "0.0.9", "0.1.0", "0.1.7", "0.1.0.dev3", "0.1"])
def test_older_models_and_patch_releases_load(found):
    assert check_version({VERSION_KEY: found}, "it", installed="0.1.0") is None


@pytest.mark.parametrize(("found", "needed"), [("0.2.0", "0.2"), ("0.10.0rc1", "0.10"), ("1.0.0", "1.0")])
def test_newer_models_say_what_to_install(found, needed):
    message = f"0.1.0 or older, found it, saved by {found}. .*--upgrade 'sentiment_hf>={needed}'"
    with pytest.raises(InputError, match=message):
        check_version({VERSION_KEY: found}, "it", installed="0.1.0")


@pytest.mark.parametrize("found", ["tomorrow", 3, ["0.1.0"]])
def test_what_is_no_version_is_named(found):
    with pytest.raises(InputError, match="take the line out"):
        check_version({VERSION_KEY: found}, "it")


def test_a_newer_model_is_refused_wherever_it_is_opened(model_folder, tokenizer):
    config = load_config(str(model_folder))
    # A newer version may have kinds of models that this one has no class for; the version is what to say.
    rewrite(model_folder, **{VERSION_KEY: "99.0.0", "model_type": "bert_of_the_future"})
    with pytest.raises(InputError, match=r"saved by 99\.0\.0"):
        SentimentClassifier.from_pretrained(model_folder)
    setattr(config, VERSION_KEY, "99.0.0")
    with pytest.raises(InputError, match=r"saved by 99\.0\.0"):
        recorded_settings(config, tokenizer, "it")


def test_models_from_before_the_key_load(model_folder):
    rewrite(model_folder, **{VERSION_KEY: None})
    assert SentimentClassifier.from_pretrained(model_folder)("很好").label in ("negative", "positive")
    # The encoder that comes with the package is one of them.
    assert VERSION_KEY not in load_config(str(STARTER_FOLDER)).to_dict()
