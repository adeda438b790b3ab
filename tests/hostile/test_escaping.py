"""What users wrote is shown, never obeyed: in cards, pages, tables, file names and over HTTP."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings, strategies as st
from markdown_it import MarkdownIt

from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.evaluation.plots import picture, plain, table, to_html
from sentiment_hf.evaluation.report import read_metrics
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.forward import torch_forward
from sentiment_hf.publishing.card import escaped, fenced
from sentiment_hf.sweeps.plan import _slug
from sentiment_hf.tasks import SingleLabelTask
from sentiment_hf.tasks.labels import LabelSpace
from sentiment_hf.utils.console import show
from sentiment_hf.utils.exceptions import InputError

from .texts import PIECES, characters, texts

EVERYTHING = "".join(PIECES).encode("utf-8", "replace").decode()
LABELS = ("<img src=x onerror=alert(1)>|`*_[x](javascript:y)", "{{ 7 * 7 }}\n=1+1 ../../x\u202e")


class Tags(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def seen(text):
    """What a reader sees of a text on one line; what is never drawn aside."""
    return re.sub(r"[\s\x00-\x1f\x7f\ufffd\u202a-\u202e\u2066-\u2069]+", "", text)


# `\x00` is U+FFFD in every reader of Markdown.
@pytest.mark.parametrize("escape", [plain, escaped])
@given(text=characters)
@example(text=EVERYTHING)
@example(text="_a_ __b__ c_d ~~e~~ # f\n# g &lt; \\| \\\\` http://a.cn")
def test_markdown_shows_a_text_and_nothing_else(escape, text):
    reader = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
    for page, tags in (
        (f"x{escape(text)}x", {"p"}),
        (f"# x{escape(text)}x", {"h1"}),
        (f"| a | b |\n|---|---|\n| x{escape(text)}x | c |", {"table", "thead", "tbody", "tr", "th", "td"}),
    ):
        found = Tags(reader.render(page))
        assert found.tags == tags
        assert f"x{seen(text)}x" in seen(found.text)


@given(code=characters)
def test_a_fence_holds_any_code(code):
    tokens = MarkdownIt("commonmark").parse(f"before\n\n{fenced(code, 'yaml')}\n\nafter")
    assert [token.type for token in tokens if token.type in ("fence", "html_block", "code_block")] == ["fence"]
    assert tokens[-2].content == "after"


@given(text=characters)
@example(text=EVERYTHING)
def test_a_page_of_markdown_is_a_page_of_html(tmp_path_factory, text):
    page = f"# {plain(text)}\n\n" + table([text, "b"], [[text, "c"], ["d", text]])
    found = Tags(to_html(page, text, tmp_path_factory.mktemp("page")))
    assert found.tags <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert not {name for name in found.attributes if name.startswith("on")}


@pytest.mark.parametrize(
    "name", ["scores.png", "my report (1).png", "a&b<c>.png", "结果.png", "100%25.png", "a_b_#.png"]
)
def test_pictures_of_any_name_are_found_and_none_outside_the_folder(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "in" / name).write_bytes(b"picture")
    page = to_html(picture("scores", name), "t", tmp_path / "in")
    assert "data:image/png;base64,cGljdHVyZQ==" in page
    for outside in ("../secret.png", "..%2Fsecret.png", str(tmp_path / "secret.png"), "%2e%2e/secret.png"):
        assert "c2VjcmV0" not in to_html(f"![x]({outside})", "t", tmp_path / "in")


@pytest.fixture(scope="module")
def classifier(tokenizer, make_model):
    settings = TextSettings(max_length=16, truncation="sliding", max_chunks=3)
    scorer = TextScorer(tokenizer, settings, torch_forward(make_model(labels=LABELS)))
    return SentimentClassifier(SingleLabelTask("custom", LabelSpace(LABELS)), scorer, "torch", ("cpu",))


@settings(max_examples=12)
@given(text=texts)
@example(text=EVERYTHING)
def test_the_page_shows_texts_and_labels(classifier, text):
    pytest.importorskip("gradio", reason="needs the demo extra")
    from sentiment_hf.serving.page.models import PageModel
    from sentiment_hf.serving.page.tabs import ARTICLE_LIMIT, checked, predict_article, predict_sentence
    from sentiment_hf.serving.page.wording import ENGLISH

    model = PageModel("m", classifier)
    for predict in (predict_sentence, predict_article):
        found = Tags(checked(predict, model, ARTICLE_LIMIT, ENGLISH)(text))
        assert found.tags <= {"div", "span", "p", "mark", "h4", "ol", "li"}
        assert found.attributes <= {"class", "style", "title", "role"}
        found.text.encode("utf-8")
        assert ENGLISH.fails not in found.text


@pytest.fixture(scope="module")
def http(classifier):
    pytest.importorskip("fastapi_offline", reason="needs the serve extra")
    from fastapi.testclient import TestClient

    from sentiment_hf.serving.api import build_api

    with TestClient(build_api(classifier)) as client:
        yield client


@given(given_texts=st.lists(texts, min_size=1, max_size=4))
@example(given_texts=[EVERYTHING, "", "\x00"])
def test_http_classifies_each_text_or_says_which_is_none(http, given_texts):
    body = json.dumps({"texts": given_texts})
    given_texts = json.loads(body)["texts"]
    response = http.post("/predict", content=body, headers={"content-type": "application/json"})
    if any("\ud800" <= char <= "\udfff" for text in given_texts for char in text):
        assert response.status_code == 422
        return
    assert response.status_code == 200
    assert [prediction["text"] for prediction in response.json()["predictions"]] == given_texts


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["texts", "top_k", "x"]), inner)
    ),
    max_leaves=6,
)


@given(body=st.one_of(st.binary(max_size=40), JSON.map(lambda value: json.dumps(value).encode())))
@example(body=b"[" * 100_000)
@example(body=b'{"texts": ' + b"9" * 5_000 + b"}")
@example(body=b'{"texts": "a", "texts": 1}')
@example(body=b'{"texts": "\xff"}')
def test_http_takes_any_body(http, body):
    response = http.post("/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (200, 400, 413, 422)
    assert http.get("/health").status_code == 200


@given(name=texts)
@example(name="../../etc/passwd")
@example(name="..")
@example(name="\x00" * 300)
@example(name="𠮷" * 300)
@example(name="/" + "a" * 5_000)
def test_folders_of_settings_stay_where_they_are(tmp_path_factory, name):
    slug = _slug(name)
    home = tmp_path_factory.mktemp("sweep")
    folder = home / f"{slug}-0123456789"
    folder.mkdir()
    assert folder.parent == home
    assert Path(slug).name == slug


@pytest.mark.parametrize(
    "content", ['{"split": "../../../etc/passwd"}', '{"split": []}', "[]", "{", "[" * 100_000, "\xff"]
)
def test_metrics_that_no_run_wrote_are_refused(tmp_path, content):
    (tmp_path / "metrics.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match="the metrics of a run"):
        read_metrics(tmp_path)


@given(text=texts)
@example(text="[b]x[/b] [/] :smile: [link=file:///etc/passwd]y[/link]")
def test_the_screen_shows_cells_as_they_are(capsys, text):
    from rich.table import Table

    shown = Table(title=text)
    shown.add_column(text)
    shown.add_row(text)
    capsys.readouterr()
    show(shown)
    show(text)
    out = capsys.readouterr().out
    if text.startswith("[b]"):
        assert out.count("[link=file:///etc/passwd]") >= 2
        assert ":smile:" in out


def test_names_of_html_are_not_taken_for_entities():
    assert html.unescape(plain("&lt;")) == "&lt;"
