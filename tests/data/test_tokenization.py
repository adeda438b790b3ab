import copy

import pandas as pd
import pytest
import torch
from tokenizers import normalizers

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.collation import ClassificationCollator
from sentiment_hf.data.dataset import tokenize_frame
from sentiment_hf.data.tokenization import TextSettings, encode
from sentiment_hf.modeling.vocabulary import build_wordpiece_tokenizer
from sentiment_hf.utils.exceptions import InputError

RAW = Cleaning.none()


def ids_of(tokenizer, text, **options):
    return encode(tokenizer, [text], TextSettings(cleaning=RAW, **options))["input_ids"][0]


def test_head_tail_keeps_both_ends(tokenizer):
    text = "房间早餐电池屏幕快递故事"
    content = tokenizer(text, add_special_tokens=False)["input_ids"]
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert len(content) == 12
    # Ten tokens: [CLS], eight of content, [SEP].
    assert ids_of(tokenizer, text, max_length=10, truncation="head_tail") == [cls, *content[:4], *content[-4:], sep]
    uneven = ids_of(tokenizer, text, max_length=10, truncation="head_tail", head_share=0.25)
    assert uneven == [cls, *content[:2], *content[-6:], sep]
    odd = ids_of(tokenizer, text, max_length=9, truncation="head_tail", head_share=0.5)
    assert odd == [cls, *content[:4], *content[-3:], sep]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("max_length", [3, 8, 13, 14, 15])
def test_one_sided_truncation_is_the_tokenizers_own(tokenizer, side, max_length):
    text = "房间早餐电池屏幕快递故事"
    tokenizer.truncation_side = side
    expected = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
    tokenizer.truncation_side = "right"
    assert ids_of(tokenizer, text, max_length=max_length, truncation=side) == expected


def test_a_text_that_fits_is_left_alone(tokenizer):
    whole = tokenizer("房间很吵")["input_ids"]
    for truncation in ("right", "left", "head_tail"):
        assert ids_of(tokenizer, "房间很吵", max_length=len(whole), truncation=truncation) == whole


def test_lone_surrogates_are_encoded(tokenizer):
    assert ids_of(tokenizer, "房\ud800间", max_length=10)[0] == tokenizer.cls_token_id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truncation": "middle"}, "head_tail"),
        ({"max_length": 2}, "at least 3"),
        ({"head_share": 1.0}, "between 0 and 1"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TextSettings(**options)


def test_windows_share_a_quarter_of_their_length_unless_told():
    assert TextSettings(max_length=48).overlap == 12
    assert TextSettings(max_length=48, stride=0).overlap == 0


def test_map_is_cached_and_knows_its_settings(tokenizer, tmp_path, monkeypatch):
    import sentiment_hf.data.dataset as module

    frame = pd.DataFrame({"doc_id": [7, 9], "text": ["房间很大", "早餐一塌糊涂"], "label": [1, 0]})
    calls = []
    encode_batch = module._encode_batch
    monkeypatch.setattr(
        module, "_encode_batch", lambda *args, **kwargs: calls.append(1) or encode_batch(*args, **kwargs)
    )
    first = tokenize_frame(frame, tokenizer, TextSettings(), "train", cache_dir=str(tmp_path))
    assert len(calls) == 1
    again = tokenize_frame(frame, tokenizer, TextSettings(), "train", cache_dir=str(tmp_path))
    assert len(calls) == 1
    assert again.to_dict() == first.to_dict()
    tokenize_frame(frame, tokenizer, TextSettings(max_length=4), "train", cache_dir=str(tmp_path))
    assert len(calls) == 2
    tokenize_frame(frame, tokenizer, TextSettings(Cleaning(repeats=False)), "train", cache_dir=str(tmp_path))
    assert len(calls) == 3
    # Another tokenizer, and one of the same pieces: neither reads what the first has left.
    fewer = build_wordpiece_tokenizer(frame["text"], vocab_size=12)
    changed = copy.deepcopy(tokenizer)
    changed.backend_tokenizer.normalizer = normalizers.Replace("房", "早")
    for other in (fewer, changed):
        found = tokenize_frame(frame, other, TextSettings(), "train", cache_dir=str(tmp_path))
        assert found["input_ids"][:] == other(frame["text"].tolist())["input_ids"] != first["input_ids"][:]
    assert set(first.column_names) == {"doc_id", "labels", "length", *tokenizer.model_input_names}
    assert first["length"][:] == [len(ids) for ids in first["input_ids"]]


def test_collator_pads_to_a_multiple_and_keeps_doc_id(tokenizer):
    rows = [
        {"doc_id": 7, "labels": 1, "length": 3, "input_ids": [2, 5, 3], "attention_mask": [1, 1, 1]},
        {"doc_id": 9, "labels": 0, "length": 4, "input_ids": [2, 5, 6, 3], "attention_mask": [1, 1, 1, 1]},
    ]
    batch = ClassificationCollator(tokenizer, pad_to_multiple_of=8)(rows)
    expected = {
        "input_ids": torch.tensor([[2, 5, 3, 0, 0, 0, 0, 0], [2, 5, 6, 3, 0, 0, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]]),
        "doc_id": torch.tensor([7, 9]),
        "labels": torch.tensor([1, 0]),
    }
    assert batch.keys() == expected.keys()
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    # Rounding up stops at the positions that the model has.
    assert ClassificationCollator(tokenizer, 8, max_length=6)(rows)["input_ids"].shape == (2, 6)
