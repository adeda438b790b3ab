import numpy as np
import pytest

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.utils.exceptions import InputError

# Text that the default cleaning leaves as it is, short enough to need no truncation.
PLAIN = ["房间很吵", "早餐非常好", "电池一塌糊涂", "快递让人满意", "屏幕"]


def test_one_and_many(model_folder):
    classifier = SentimentClassifier.from_pretrained(model_folder)
    one = classifier("房间很吵")
    many = classifier(PLAIN)
    assert one.label == many[0].label in ("negative", "positive")
    assert one.probability == pytest.approx(many[0].probability, abs=1e-6)
    assert [prediction.text for prediction in many] == PLAIN
    assert one.top[0] == (one.label, one.probability)
    assert sum(probability for _, probability in one.top) == pytest.approx(1)
    assert classifier([]) == []
    assert [len(prediction.top) for prediction in classifier(PLAIN, top_k=1)] == [1] * 5


def test_order_and_batches_do_not_matter(model_folder, reviews):
    classifier = SentimentClassifier.from_pretrained(model_folder)
    texts = [text * (index % 4 + 1) for index, text in enumerate(reviews["text"][:101])]
    together = classifier.scorer.logits(texts)
    alone = np.concatenate([classifier.scorer.logits([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_blank_texts_get_a_reason_and_the_others_a_label(model_folder):
    predictions = SentimentClassifier.from_pretrained(model_folder)(
        ["很好", None, float("nan"), "", " \n", "http://t.cn/x", 5]
    )
    assert [prediction.label is None for prediction in predictions] == [False, True, True, True, True, True, False]
    reasons = [prediction.reason for prediction in predictions]
    assert reasons == [
        None,
        "missing text",
        "missing text",
        "empty text",
        "empty text",
        "no text left after cleaning",
        None,
    ]
    assert predictions[1].to_dict() == {
        "text": None,
        "label": None,
        "probability": None,
        "top": [],
        "reason": "missing text",
    }


def test_printed_form(model_folder):
    text = str(SentimentClassifier.from_pretrained(model_folder)("这个电影太好看了！"))
    first, second, third = text.split("\n")
    assert first == "Text: 这个电影太好看了！"
    assert second.startswith("Pred: ")
    assert "(conf=" in second
    assert third.startswith("Top-2: ")


def test_a_text_that_fills_the_screen_is_shown_by_its_beginning(model_folder):
    classifier = SentimentClassifier.from_pretrained(model_folder)
    shown = str(classifier("很好" * 2000)).splitlines()
    assert shown[0].endswith("很好… (4,000 characters)")
    assert len(shown[0]) < 200
    assert str(classifier("很好" * 500)).splitlines()[0] == "Text: " + "很好" * 500


def test_the_checkpoint_is_stock(model_folder):
    from transformers import AutoModelForSequenceClassification, pipeline

    assert type(AutoModelForSequenceClassification.from_pretrained(model_folder)).__module__.startswith("transformers.")
    stock = pipeline("text-classification", model=str(model_folder))(PLAIN)
    ours = SentimentClassifier.from_pretrained(model_folder)(PLAIN)
    assert [prediction["label"] for prediction in stock] == [prediction.label for prediction in ours]
    np.testing.assert_allclose([a["score"] for a in stock], [a.probability for a in ours], atol=1e-5)


def test_a_model_from_elsewhere_works(tmp_path, make_model, tokenizer):
    make_model(labels=("坏", "中", "好")).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    classifier = SentimentClassifier.from_pretrained(tmp_path)
    assert classifier("房间" * 500).label in ("坏", "中", "好")
    assert classifier.scorer.settings.max_length <= 64
    assert classifier.scorer.settings.cleaning == Cleaning.none()


def test_providers_are_what_runs(model_folder):
    assert SentimentClassifier.from_pretrained(model_folder).providers == ("cpu",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tensorflow"}, r"torch \| onnx \| int8"),
        ({"provider": "tensorrt"}, "tensorrt runs ONNX files"),
        ({"backend": "onnx"}, "sentiment-hf compress export"),
        ({"backend": "int8"}, "--quantize dynamic"),
    ],
)
def test_bad_choices_are_refused(model_folder, options, message):
    with pytest.raises(InputError, match=message):
        SentimentClassifier.from_pretrained(model_folder, **options)


def test_a_folder_without_tokenizer_is_refused(model_folder):
    for path in [*model_folder.glob("tokenizer*"), *model_folder.glob("vocab*")]:
        path.unlink()
    with pytest.raises(InputError, match="a tokenizer in"):
        SentimentClassifier.from_pretrained(model_folder)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing there"):
        SentimentClassifier.from_pretrained(tmp_path / "none")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE set"):
        SentimentClassifier.from_pretrained("nobody/nothing")


@pytest.mark.parametrize(
    ("files", "backend"),
    [
        (["model.safetensors", "onnx/model.onnx", "onnx/model_quint8_avx2.onnx"], "torch"),
        (["onnx/model.onnx", "onnx/model_quint8_avx2.onnx"], "int8"),
        (["onnx/model.onnx"], "onnx"),
        ([], "torch"),
    ],
)
def test_auto_takes_the_first_that_is_there(tmp_path, files, backend):
    from sentiment_hf.inference.backends import first_there

    (tmp_path / "onnx").mkdir()
    for file in files:
        (tmp_path / file).touch()
    assert first_there(str(tmp_path)) == backend


def test_a_file_for_another_processor_is_the_last_resort_and_is_named(
    tmp_path, model_folder, reviews, caplog, monkeypatch
):
    pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")
    import pandas as pd

    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization
    from sentiment_hf.inference import onnx_session
    from sentiment_hf.inference.backends import first_there

    validation = pd.DataFrame({"text": reviews["text"][:20], "label": [0, 1] * 10})
    exported = export_model(model_folder, validation, Quantization("dynamic", "avx512_vnni", 100.0))
    (model_folder / "model.safetensors").unlink()
    monkeypatch.setattr(onnx_session, "native_int8_arch", lambda: "avx2")
    assert first_there(str(model_folder)) == "onnx", "nobody gets it without asking"
    classifier = SentimentClassifier.from_pretrained(model_folder, "int8")
    assert classifier.file == exported.int8
    assert [record.getMessage() for record in caplog.records if "another processor" in record.getMessage()]
    caplog.clear()
    monkeypatch.setattr(onnx_session, "native_int8_arch", lambda: "avx512_vnni")
    SentimentClassifier.from_pretrained(model_folder, "int8")
    assert not caplog.records
