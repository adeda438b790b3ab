"""What the page shows, and the page as a program asks it."""

import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytest.importorskip("gradio", reason="needs the demo extra")

from sentiment_hf.cli.main import main
from sentiment_hf.data.delimited import write_csv
from sentiment_hf.inference.calibration import Calibration
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.serving.page.models import FairLock, PageModel, PageModels
from sentiment_hf.serving.page.tabs import (
    ARTICLE_LIMIT,
    SENTENCE_LIMIT,
    checked,
    predict_article,
    predict_review,
    predict_sentence,
    read_texts,
    with_predictions,
)
from sentiment_hf.serving.page.wording import CHINESE, ENGLISH
from sentiment_hf.utils.exceptions import InputError

SPACE = Path(__file__).parents[2] / "spaces_demo"
SCRIPT = "<script>alert(1)</script>早餐非常好<img src=x onerror=alert(1)>"
TEXT = "房间很吵，早餐非常好"


def visible(html):
    return re.sub(r"<[^>]+>", "", html)


def test_each_model_serves_the_tabs_that_it_can(page_folders):
    sentence, article, review = page_folders.sentence, page_folders.article, page_folders.review
    for model, tabs in ((sentence, "s"), (article, "sa"), (review, "r")):
        models = PageModels.load(model)
        found = (models.sentence, models.article, models.review)
        assert "".join(letter for letter, one in zip("sar", found, strict=True) if one is not None) == tabs
        assert len(models.all) == 1
    models = PageModels.load(sentence, article, review)
    assert [model.name for model in models.all] == ["sentence", "article", "review"]
    with pytest.raises(InputError, match="a topics_model of one label with sliding windows"):
        PageModels.load(sentence, topics_model=review)
    with pytest.raises(InputError, match="an aspects_model of task aspects"):
        PageModels.load(sentence, aspects_model=article)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "JSON in space.json"), ("[]", "found list"), ('{"modell": "a/b"}', "found modell")],
)
def test_a_space_that_names_its_model_wrongly(tmp_path, text, message):
    (tmp_path / "space.json").write_text(text)
    with pytest.raises(InputError, match=message):
        PageModels.of_space(tmp_path / "space.json")


def test_a_sentence_has_its_label_its_bars_and_every_one_of_its_characters(page_models):
    model = page_models.sentence
    prediction = model.labels([TEXT], 3)[0]
    html = predict_sentence(model, TEXT, ENGLISH)
    assert f'<div class="shf-label">{prediction.label}' in html
    assert html.count('class="shf-fill"') == 2
    assert f"{prediction.probability:.1%}" in html
    coloured = html.split('class="shf-text">')[1].split("</p>")[0]
    assert visible(coloured) == TEXT
    # The strongest word has the strongest colour.
    strongest = max(model.explain(TEXT, prediction.label).spans, key=lambda span: abs(span.score))
    assert re.search(rf'--share:1\.00"[^>]*>{strongest.text}</mark>', coloured)
    assert {"正面", "负面"} & set(re.findall("正面|负面", predict_sentence(model, TEXT, CHINESE)))


def test_a_model_that_abstains_says_so(page_models):
    classifier = SentimentClassifier(
        **{**vars(page_models.sentence.classifier), "calibration": Calibration(1.0, 0.9999)}
    )
    html = predict_sentence(PageModel("m", classifier), TEXT, ENGLISH)
    assert "The model abstains" in html
    assert "99.99" in html or "100.0%" in html
    assert "shf-label" not in html
    assert html.count('class="shf-fill"') == 2


def test_an_article_shows_every_chunk_and_ranks_them(page_models):
    text = (TEXT + "。电池不耐用，\n\n前台服务让人失望！") * 8
    prediction = page_models.article.labels([text], 3, chunks=True)[0]
    html = predict_article(page_models.article, text, ENGLISH)
    assert prediction.num_chunks > 6
    strip = html.split('class="shf-strip">')[1].split("<ol")[0]
    assert strip.count("--share") == prediction.num_chunks
    shown = [visible(part) for part in re.findall(r'<p class="shf-text">(.*?)</p>', html, re.S)]
    assert shown == [chunk.text.strip() for chunk in prediction.chunks[:5]]
    assert f"chunk {prediction.chunks[0].chunk_idx + 1} of {prediction.num_chunks}" in html


def test_a_review_shows_all_eighteen_aspects(page_models):
    prediction = page_models.review.aspects([TEXT])[0]
    html = predict_review(page_models.review, TEXT, ENGLISH)
    for name in ENGLISH.aspects.values():
        assert re.search(rf'shf-name[^"]*">{name}</div>', html), name
    assert html.count('class="shf-axis"') == 18
    assert len(re.findall('class="shf-(?:positive|negative|neutral)"', html)) == len(prediction.aspects)
    assert html.count("★") == prediction.rating


@pytest.mark.parametrize("predict", [predict_sentence, predict_article, predict_review])
def test_markup_in_a_text_is_text(page_models, predict):
    tab = predict.__name__.removeprefix("predict_")
    html = predict(getattr(page_models, tab), SCRIPT, ENGLISH)
    assert "<script" not in html
    assert "<img" not in html


def test_bad_texts_are_sentences_in_the_language_of_the_page(page_models):
    sentence = checked(predict_sentence, page_models.sentence, SENTENCE_LIMIT, CHINESE)
    assert CHINESE.empty in sentence("")
    assert CHINESE.empty in sentence(" \n")
    assert "100,000" in sentence("好" * 100_000)
    assert CHINESE.reasons["no text left after cleaning"] in sentence("https://example.com/a")
    article = checked(predict_article, page_models.article, ARTICLE_LIMIT, ENGLISH)
    assert "has 100,000 characters" in article("好" * 100_000)


def test_a_failure_is_logged_and_not_shown(page_models, caplog):
    def fail(*_):
        raise RuntimeError("the secret")

    html = checked(fail, page_models.sentence, 10, ENGLISH)("好")
    assert "secret" not in html
    assert "Something went wrong" in html
    assert "the secret" in caplog.text


def test_a_file_of_gb18030_is_classified_row_by_row(page_models, tmp_path):
    path = tmp_path / "酒店.csv"
    path.write_bytes(f"编号,评论\n1,{TEXT}\n2,\n3,电池不耐用\n".encode("gb18030"))
    table, column = read_texts(path)
    assert column == "评论"
    seen = []
    predicted = with_predictions(page_models.sentence, table, column, lambda *done: seen.append(done))
    expected = page_models.sentence.labels([TEXT, "", "电池不耐用"], 1)
    assert predicted["predicted_label"].fillna("").tolist() == [prediction.label or "" for prediction in expected]
    assert predicted["reason"].fillna("").tolist() == ["", "empty text", ""]
    assert seen == [(0, 3)]
    written = pd.read_csv(write_csv(predicted, tmp_path / "out.csv"), encoding="utf-8-sig")
    assert written["评论"].tolist()[::2] == [TEXT, "电池不耐用"]
    aspects = with_predictions(page_models.review, table, column, lambda *_: None)
    assert "predicted_dish_taste" in aspects.columns


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        ("id,city\n1,北京\n", "", "found the columns id, city"),
        ("id,text\n1,好\n", "review", "review"),
        ("", "", "an empty file"),
        ("text\n" + "好\n" * 20_001, "", "at most 20,000 rows, found 20,001"),
        ('text\n"好\n', "", "well-formed csv"),
    ],
)
def test_bad_files_are_one_sentence_without_a_folder(tmp_path, content, column, message):
    (tmp_path / "in.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_texts(tmp_path / "in.csv", column)
    assert str(tmp_path) not in str(caught.value)


def test_fifty_visitors_at_once_each_get_their_own_prediction(page_address, page_models):
    from gradio_client import Client

    texts = [f"第{n}间{TEXT}" for n in range(50)]
    # A job holds three of the client's threads and its results are read in one more: with fewer, all wait for one.
    client = Client(page_address, verbose=False, max_workers=4 * len(texts), httpx_kwargs={"timeout": 300})
    jobs = [client.submit(text, api_name="/sentence_en") for text in texts]
    for text, job in zip(texts, jobs, strict=True):
        assert job.result(timeout=300) == predict_sentence(page_models.sentence, text, ENGLISH)


def test_the_space_runs_with_the_models_that_it_names(page_folders, tmp_path):
    shutil.copy(SPACE / "app.py", tmp_path)
    (tmp_path / "space.json").write_text(f'{{"model": "{page_folders.review}", "revision": null}}')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    try:
        page = fetched(f"http://127.0.0.1:{port}/config", process)
    finally:
        process.kill()
        process.communicate()
    assert "餐厅点评" in page
    assert "一句话" not in page


def test_the_command_opens_the_page_and_ends_with_the_interrupt(page_folders):
    words = ["demo", "--port", "0", "--model", page_folders.sentence]
    command = [sys.executable, "-m", "sentiment_hf", *words]
    # A shell starts what goes on in the background deaf to Ctrl-C, and its children inherit that.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
        assert "一句话" in fetched(f"{address}config", process)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode in {0, 130}
    assert "no tab for review: it needs --aspects_model" in log
    assert "Traceback" not in log


def fetched(address, process):
    # A busy machine may take minutes to import it all.
    deadline = time.monotonic() + 400
    while True:
        try:
            return urllib.request.urlopen(address, timeout=120).read().decode()
        except OSError:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_space_asks_for_the_gradio_that_is_tested():
    front = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])
    pins = (SPACE.parent / "constraints.txt").read_text().splitlines()
    assert f"gradio=={front['sdk_version']}" in pins
    assert (SPACE / front["app_file"]).is_file()
    # What the Hub's own checks refuse.
    assert len(front["short_description"]) <= 60
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {front["colorFrom"], front["colorTo"]} <= colours


def test_a_file_lets_sentences_in_between(page_models):
    table = pd.DataFrame({"text": [f"{TEXT}{n}" for n in range(200)]})
    model = page_models.sentence
    started, released, blocks = threading.Event(), threading.Event(), []

    def progress(done, _):
        started.set()
        blocks.append((done, released.wait(300) if done else False))

    thread = threading.Thread(target=with_predictions, args=(model, table, "text", progress))
    thread.start()
    assert started.wait(300)
    model.labels([TEXT], 1)
    released.set()
    thread.join(300)
    assert blocks == [(0, False), (64, True), (128, True), (192, True)]


def test_who_waits_comes_before_who_comes_again():
    turns, order = FairLock(), []

    def visit():
        with turns:
            order.append("visitor")

    visitor = threading.Thread(target=visit)
    with turns:
        visitor.start()
        while not turns.is_awaited:
            time.sleep(0.001)
    with turns:
        order.append("file")
    visitor.join(60)
    assert order == ["visitor", "file"]


def test_both_languages_say_everything():
    for entry in dataclasses.fields(CHINESE):
        for wording in (CHINESE, ENGLISH):
            assert getattr(wording, entry.name) or entry.name == "labels"
        if isinstance(getattr(CHINESE, entry.name), str):
            braces = [set(re.findall(r"{(\w+)", getattr(wording, entry.name))) for wording in (CHINESE, ENGLISH)]
            assert braces[0] == braces[1], entry.name
    assert CHINESE.aspects.keys() == ENGLISH.aspects.keys()
    assert len(CHINESE.aspects) == 18


def test_bad_words_are_one_sentence(page_folders, capsys):
    words = ["demo", "--port", "0", "--model", page_folders.sentence]
    assert main([*words, "--topics_model", page_folders.review]) == 2
    assert "with sliding windows" in capsys.readouterr().err
    assert main(["demo", "--port", "-1"]) == 2
    assert "a port from 0" in capsys.readouterr().err
