import itertools

import pytest
from hypothesis import given, settings, strategies as st

from sentiment_hf.data.cleaning import CHOICES, Cleaning, clean
from sentiment_hf.data.dataset import tokenize_frame
from sentiment_hf.data.tokenization import TextSettings, encode
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.utils.exceptions import InputError

SWITCHES = [name for name in Cleaning().to_dict() if name not in CHOICES]
RAW = (
    "＠某某 联系ａｂｃ@example.com或@小王：看https://example.com/a?b=1。房間&amp;nbsp;很　大<br/>\u200b"
    "！！！！！哈哈哈哈哈哈 10000000元"
)


def only(*names):
    return Cleaning(**{name: name in names for name in SWITCHES})


@pytest.mark.parametrize(
    ("switch", "raw", "cleaned"),
    [
        ("nfkc", "ＡＢＣ１２３，好", "ABC123,好"),
        ("html", "好&amp;amp;坏<br/>&lt;b&gt;粗", "好&坏  粗"),
        ("urls", "看http://t.cn/A6x这里 www.example.com。", "看 这里  。"),
        ("emails", "写信给a.b@example.com吧", "写信给 吧"),
        ("mentions", "@小明：你好 @user-1 再见", " 你好   再见"),
        ("whitespace", " 很\t大\r\n\u200b的 房间\x07 ", "很 大 的 房间"),
        ("repeats", "太好了！！！！！！哈哈哈哈哈哈 10000", "太好了！！！哈哈哈 10000"),
        ("simplified", "這個房間很髒", "这个房间很脏"),
        ("short_links", "看看http://t.cn/A6xQ好 //t.cn/Rb9 t.cn/zz网页链接", "看看 好     "),
    ],
)
def test_each_switch_does_its_own_step_only(switch, raw, cleaned):
    assert clean(raw, only(switch)) == cleaned
    assert clean(raw, Cleaning.none()) == raw


POST = "愿大家平安[心]//@小A:#武汉加油# 一定要平安😂//@小B：转发微博//@小C_1: 加油"


@pytest.mark.parametrize(
    ("choices", "raw", "cleaned"),
    [
        ({"retweets": "cut"}, POST, "愿大家平安[心]"),
        ({"retweets": "own_first"}, POST, "愿大家平安[心] #武汉加油# 一定要平安😂 加油"),
        ({"retweets": "cut"}, "//@小A:好消息//@小B:转发", "好消息"),
        ({"retweets": "cut"}, "转发微博//@小A:好消息", "好消息"),
        ({"retweets": "cut"}, "转发微博//@小A:", "转发微博"),
        ({"retweets": "cut"}, "网址//example.com/@me 不是转发", "网址//example.com/@me 不是转发"),
        ({"topics": "words"}, "#武汉加油#一定会好", "武汉加油 一定会好"),
        ({"topics": "remove"}, "#武汉加油#一定会好", " 一定会好"),
        ({"topics": "words"}, "C# 和 F 井号", "C# 和 F 井号"),
        ({"emoji": "words"}, "[泪]再见[good]😂❤️", "泪再见good笑哭了红心"),
        ({"emoji": "remove"}, "[泪]再见😂", " 再见 "),
        ({"emoji": "words"}, "[图片说明比较长的不是表情]", "[图片说明比较长的不是表情]"),
    ],
)
def test_weibo_switches(choices, raw, cleaned):
    assert clean(raw, Cleaning(**{**Cleaning.none().to_dict(), **choices})) == cleaned
    assert clean(raw, Cleaning.none()) == raw


def test_reviews_are_cleaned_as_before():
    assert clean(POST, Cleaning()) == "愿大家平安[心]// #武汉加油# 一定要平安😂// 转发微博// 加油"


def test_emoji_sequences_survive():
    assert clean("好吃👨‍👩‍👧😀", Cleaning()) == "好吃👨‍👩‍👧😀"


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(max_size=200) | st.text(alphabet="//@a:：#[泪心]😂❤\ufe0f转发 。t.cn", max_size=60),
    off=st.sampled_from([None, *SWITCHES]),
    choices=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in CHOICES.items()}),
)
def test_cleaning_twice_is_cleaning_once(text, off, choices):
    switches = Cleaning(**{name: name != off for name in SWITCHES}, **choices)
    once = clean(text, switches)
    assert clean(once, switches) == once


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="&amp;#x3c<>/@.htpsw:a１＠。 \u200b", max_size=60))
def test_cleaning_settles_on_text_made_of_its_own_triggers(text):
    once = clean(text, Cleaning())
    assert clean(once, Cleaning()) == once


SETTINGS = [
    TextSettings(cleaning=Cleaning(**dict(zip(SWITCHES, values, strict=True))), max_length=20, truncation=truncation)
    for values in itertools.islice(itertools.product([True, False], repeat=len(SWITCHES)), 0, None, 5)
    for truncation in ("right", "left", "head_tail")
]


def test_training_and_prediction_see_the_same_input_ids(tokenizer, tmp_path):
    """The one test of parity, for every cleaning switch and truncation, through the saved form of the settings."""
    import numpy as np
    import pandas as pd

    texts = [RAW, "房间很吵", "超出预期！" * 30, "ﾊﾛｰ ＆ｌｔ； 🙂"]
    frame = pd.DataFrame({"doc_id": range(len(texts)), "text": texts, "label": 0})
    for text_settings in SETTINGS:
        trained = tokenize_frame(frame, tokenizer, text_settings, "train", cache_dir=str(tmp_path))
        seen = []

        def forward(batch, seen=seen):
            seen.extend(ids[mask == 1].tolist() for ids, mask in zip(*map(batch.get, NAMES), strict=True))
            return np.zeros((len(batch["input_ids"]), 2))

        restored = TextSettings.from_dict(text_settings.to_dict())
        TextScorer(tokenizer, restored, forward).logits(texts)
        assert sorted(seen) == sorted(trained["input_ids"]), text_settings


NAMES = ("input_ids", "attention_mask")


def test_every_switch_changes_what_the_model_sees(tokenizer):
    everything = Cleaning(simplified=True)
    full = encode(tokenizer, [RAW], TextSettings(cleaning=everything))["input_ids"]
    for name in ("html", "urls", "emails", "mentions", "repeats", "simplified"):
        switches = Cleaning(**{**everything.to_dict(), name: False})
        assert encode(tokenizer, [RAW], TextSettings(cleaning=switches))["input_ids"] != full, name


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"url": True}, "'url'"),
        ({"urls": "yes"}, "true or false"),
        ({"retweets": True}, r"cleaning.retweets keep \| cut \| own_first, found True"),
        ({"emoji": "wrods"}, r"cleaning.emoji keep \| words \| remove"),
    ],
)
def test_bad_switches_are_refused(switches, message):
    with pytest.raises(InputError, match=message):
        Cleaning.from_dict(switches)
