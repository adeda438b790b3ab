"""The saved tokenizer cleans: plain transformers and JavaScript read raw text with it as this package does."""

import gzip
import json
import random
import shutil
import subprocess
import unicodedata

import pytest
from hostile import texts as hostile
from transformers import AutoTokenizer, PreTrainedTokenizerFast, pipeline

from sentiment_hf.data.cleaning import Cleaning, clean
from sentiment_hf.data.tokenization import TextSettings, cleaned_texts, encode
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.modeling.loading import load_tokenizer
from sentiment_hf.modeling.tokenizer_files import CLEANS_BY, cleaning_steps, left_out, save_tokenizer
from sentiment_hf.modeling.vocabulary import build_wordpiece_tokenizer
from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.training.folder import save_model

# As a file can hold them.
PIECES = [piece.encode("utf-8", "replace").decode("utf-8") for piece in hostile.PIECES]
# Entities of HTML but for the common ones are what no normalizer does.
ENTITIES = [piece for piece in PIECES if "&#" in piece]
POSTS = [
    "转发微博//@某人：今天天气真好！！！！！！//@别人:转发",
    "自己的话//@某人: 别人的话",
    "转发//@a:转发//@b：",
    "没有转发，只有//和@某人",
    "看这里http://t.cn/AbC12和t.cn/x9还有网页链接",
    "ＡＢＣ１２３　<br/>&nbsp;写信到a.b@c.com.cn，或者www.example.com/路径",
    "＆ｎｂｓｐ；&amp;amp;lt;b&amp;gt;粗&hellip;&hellip;",
    "#话题#正文#另一个#",
]


def hostile_texts(count, seed=0, pieces=PIECES):
    """Texts of awkward pieces and of characters that every engine knows: Unicode has had them since version 3.2."""
    rng = random.Random(seed)
    known = [chr(at) for at in range(0x10FFFF) if unicodedata.ucd_3_2_0.category(chr(at)) not in ("Cn", "Cs")]
    common = [char for char in known if char < "\u3000" or "\u4e00" <= char <= "\u9fff"]
    texts = []
    for _ in range(count):
        parts = [
            rng.choice(pieces) if rng.random() < 0.7 else "".join(rng.choices(rng.choice([known, common]), k=9))
            for _ in range(rng.randint(1, 8))
        ]
        texts.append("".join(parts))
    return texts


@pytest.fixture(scope="module")
def real_texts(shared):
    texts = []
    if shared.is_dir():
        for line in (shared / "data/chnsenticorp/test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            texts.append(line.split("\t", 1)[1])
        for file in sorted((shared / "data/ewect").glob("*/test.jsonl")):
            texts += [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()[:1800]]
        with gzip.open(shared / "data/thucnews_long/test.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"][:2000] for line in lines][:200]
    return texts


@pytest.fixture(scope="module")
def bert(reviews, real_texts):
    """A tokenizer of BERT's own class, whose normalizer has no NFKC."""
    return build_wordpiece_tokenizer([*reviews["text"], *POSTS, *PIECES, *real_texts], 6000, 1, 64)


@pytest.fixture
def saved(tmp_path):
    """Save a tokenizer, load it as plain transformers does."""

    def save(tokenizer, cleaning, name="tokenizer"):
        save_tokenizer(tmp_path / name, tokenizer, cleaning)
        return AutoTokenizer.from_pretrained(tmp_path / name)

    return save


def ids(tokenizer, texts):
    return tokenizer(texts, truncation=False, verbose=False)["input_ids"]


@pytest.mark.parametrize("kind", ["bert", "starter"])
def test_ids_of_raw_texts_are_those_of_cleaned_ones(kind, bert, real_texts, saved):
    tokenizer = bert if kind == "bert" else load_tokenizer("starter")
    plain = saved(tokenizer, Cleaning())
    # The starter's special pieces look like tags; written out in a text, they are what they say to a tokenizer.
    pieces = [piece for piece in PIECES if piece not in ENTITIES]
    texts = [*real_texts, *hostile_texts(10_000 - len(real_texts) if kind == "bert" else 1000, pieces=pieces)]
    cleaned = cleaned_texts(texts, TextSettings(cleaning=Cleaning()))
    wanted = ids(tokenizer, cleaned)
    different = [text for text, a, b in zip(texts, ids(plain, texts), wanted, strict=True) if a != b]
    # Entities that real reviews have besides the common ones.
    assert [text for text in different if "&" not in unicodedata.normalize("NFKC", text)] == []
    assert len(different) <= len(real_texts) / 1000
    # Cleaned already, a text is not touched.
    assert ids(plain, cleaned) == wanted
    assert ids(tokenizer, texts) != wanted


@pytest.mark.parametrize(
    "switches",
    [{"retweets": "cut"}, {"retweets": "own_first"}, {"short_links": True}, {"topics": "remove"}]
    + [{name: False} for name in ("nfkc", "html", "urls", "emails", "mentions", "whitespace", "repeats")],
    ids=str,
)
def test_every_switch(switches, bert, saved):
    cleaning = Cleaning(**switches)
    plain = saved(bert, cleaning)
    texts = [
        *POSTS,
        *hostile_texts(300, pieces=[piece for piece in PIECES if piece not in ENTITIES and "#a#b##" not in piece]),
    ]
    cleaned = cleaned_texts(texts, TextSettings(cleaning=cleaning))
    assert ids(plain, texts) == ids(bert, cleaned)


def test_what_no_normalizer_does_is_named():
    assert left_out(Cleaning.none()) == []
    assert any("OpenCC" in words for words in left_out(Cleaning(simplified=True)))
    assert any("topics" in words for words in left_out(Cleaning(topics="words")))
    assert any("emoji (remove)" in words for words in left_out(Cleaning(emoji="remove")))
    assert not any("entities" in words for words in left_out(Cleaning(html=False)))


def test_nothing_else_about_the_tokenizer_changes(bert, saved, tmp_path):
    bert.truncation_side = "left"
    for number, tokenizer in enumerate((bert, load_tokenizer("starter"))):
        plain = saved(tokenizer, Cleaning(), str(number))
        assert type(plain).__name__ in ("PreTrainedTokenizerFast", "TokenizersBackend")
        for name in ("padding_side", "truncation_side", "model_max_length", "model_input_names", "special_tokens_map"):
            assert getattr(plain, name) == getattr(tokenizer, name), name
        assert plain.all_special_ids == tokenizer.all_special_ids
        assert len(plain) == len(tokenizer)
        options = {"truncation": True, "max_length": 12, "padding": True}
        pair = ["房间很吵", "再也不来了"], ["早餐非常好值得推荐", "好"]
        assert dict(plain(*pair, **options)) == dict(tokenizer(*pair, **options))
        assert plain.decode(plain("房间很吵")["input_ids"]) == tokenizer.decode(tokenizer("房间很吵")["input_ids"])
    bert.truncation_side = "right"


def test_the_package_takes_out_what_it_put_in(bert, tmp_path):
    state = json.loads(bert.backend_tokenizer.to_str())
    save_tokenizer(tmp_path / "a", bert, Cleaning())
    loaded = load_tokenizer(str(tmp_path / "a"))
    assert json.loads(loaded.backend_tokenizer.to_str())["normalizer"] == state["normalizer"]
    # Saved anew with other switches, and by transformers itself, it does not pile up.
    save_tokenizer(tmp_path / "b", loaded, Cleaning(urls=False))
    AutoTokenizer.from_pretrained(tmp_path / "b").save_pretrained(tmp_path / "c")
    ours, own = json.loads((tmp_path / "c/tokenizer.json").read_text(encoding="utf-8"))["normalizer"]["normalizers"]
    assert ours["normalizers"] == cleaning_steps(Cleaning(urls=False))
    assert own == state["normalizer"]
    again = load_tokenizer(str(tmp_path / "c"))
    assert json.loads(again.backend_tokenizer.to_str())["normalizer"] == state["normalizer"]
    # Without cleaning nothing is put in, and the class stays.
    save_tokenizer(tmp_path / "d", bert, Cleaning.none())
    config = json.loads((tmp_path / "d/tokenizer_config.json").read_text(encoding="utf-8"))
    assert CLEANS_BY not in config
    assert config["tokenizer_class"].startswith("BertTokenizer")
    # A tokenizer from elsewhere that begins with a sequence of its own keeps it.
    foreign = json.loads((tmp_path / "c/tokenizer_config.json").read_text(encoding="utf-8"))
    del foreign[CLEANS_BY]
    (tmp_path / "c/tokenizer_config.json").write_text(json.dumps(foreign), encoding="utf-8")
    kept = json.loads(load_tokenizer(str(tmp_path / "c")).backend_tokenizer.to_str())["normalizer"]
    assert len(kept["normalizers"]) == 2


def test_a_tokenizer_without_a_normalizer(bert, tmp_path):
    backend = type(bert.backend_tokenizer).from_str(bert.backend_tokenizer.to_str())
    state = json.loads(backend.to_str())
    state["normalizer"] = None
    bare = PreTrainedTokenizerFast(tokenizer_object=type(backend).from_str(json.dumps(state)), unk_token="[UNK]")
    save_tokenizer(tmp_path, bare, Cleaning())
    assert ids(AutoTokenizer.from_pretrained(tmp_path), ["ＡＢＣ 好"]) == ids(bare, ["ABC 好"])
    assert json.loads(load_tokenizer(str(tmp_path)).backend_tokenizer.to_str())["normalizer"] is None


def test_offsets_point_into_the_text_that_was_given(bert, saved):
    plain = saved(bert, Cleaning())
    text = "  ＡＢＣ<br>房间&nbsp;很吵！！！！！！！再也不来了  "
    offsets = plain(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    tokens = plain.tokenize(text)
    shown = {token: text[slice(*span)] for token, span in zip(tokens, offsets, strict=True)}
    assert shown["房"] == "房"
    assert shown["吵"] == "吵"
    assert shown["了"] == "了"
    assert [text[slice(*span)] for token, span in zip(tokens, offsets, strict=True) if token == "!"] == ["！"] * 3
    # Of cleaned text, what chunks and explanations count in, they are the own tokenizer's.
    for given in [*POSTS, *hostile_texts(200, seed=1)]:
        cleaned = clean(given, Cleaning()).encode("utf-8", "replace").decode("utf-8")
        both = [each(cleaned, return_offsets_mapping=True, verbose=False) for each in (plain, bert)]
        assert dict(both[0]) == dict(both[1])


@pytest.mark.parametrize("switches", [{}, {"retweets": "cut", "short_links": True, "topics": "remove"}], ids=str)
def test_javascript_reads_the_patterns_alike(switches, bert, saved, real_texts, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, to try the patterns as transformers.js does")
    steps = cleaning_steps(Cleaning(**switches))
    texts = [*POSTS, *real_texts[:1000], *hostile_texts(1000, seed=2)]
    script = str(__file__).replace("test_tokenizer_cleans.py", "normalize.js")
    given = json.dumps({"normalizers": steps, "texts": texts})
    done = subprocess.run([node, script], input=given, capture_output=True, text=True, check=True)
    saved(bert, Cleaning(**switches))
    state = json.loads((tmp_path / "tokenizer/tokenizer.json").read_text(encoding="utf-8"))
    state["normalizer"] = state["normalizer"]["normalizers"][0]
    normalizer = type(bert.backend_tokenizer).from_str(json.dumps(state)).normalizer
    assert json.loads(done.stdout) == [normalizer.normalize_str(text) for text in texts]


def test_a_stock_pipeline_classifies_raw_reviews_as_the_package_does(bert, make_model, real_texts, tmp_path):
    """Before, NFKC alone changed most of them to a tokenizer that was made for cleaned text."""
    import torch
    from transformers import BertForSequenceClassification

    config = make_model().config
    config.vocab_size, config.max_position_embeddings = len(bert), 64
    torch.manual_seed(0)
    record_settings(config, bert, BUILT_IN_TASKS["reviews"], TextSettings(max_length=64))
    save_model(tmp_path / "model", BertForSequenceClassification(config), bert)
    assert (
        "rare HTML entities"
        in json.loads((tmp_path / "model/config.json").read_text(encoding="utf-8"))["sentiment_hf"]["not_in_tokenizer"]
    )
    texts = [text for text in real_texts[:300] or POSTS if text.strip()]
    ours = SentimentClassifier.from_pretrained(tmp_path / "model")(texts)
    stock = pipeline("text-classification", model=str(tmp_path / "model"), truncation=True)(texts)
    assert [prediction["label"] for prediction in stock] == [prediction.label for prediction in ours]
    scores = [prediction.probability for prediction in ours]
    assert [prediction["score"] for prediction in stock] == pytest.approx(scores, abs=1e-4)
    # The tokenizer without its cleaning, as it was saved before.
    own = load_tokenizer(str(tmp_path / "model"))
    encoded = encode(own, texts, TextSettings(max_length=64))["input_ids"]
    raw = own(texts, truncation=True, max_length=64)["input_ids"]
    assert sum(a != b for a, b in zip(encoded, raw, strict=True)) > len(texts) / 2
