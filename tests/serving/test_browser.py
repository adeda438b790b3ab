"""The page as a visitor sees it, in a real browser: Chromium, driven by Playwright."""

import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest

pytest.importorskip("gradio", reason="needs the demo extra")
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")

CHROMIUM = shutil.which("chromium", path="/usr/bin")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's browser: apt-get install chromium"),
    # A browser on a loaded machine is outside our code: it may be killed for want of memory, or starve.
    pytest.mark.flaky(reruns=2),
]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
)
SCRIPT = '房间很吵<script>document.title="hacked"</script><img src=x onerror=\'document.title="hacked"\'>早餐非常好'
# Milliseconds. Everything is waited for and nothing is timed, so that a machine may be as slow as it likes.
PATIENCE = 90_000
expect = playwright.expect
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield running
        running.close()


@pytest.fixture
def visit(browser, page_address):
    """Open the page; at the end nothing has been asked of another host, and the browser has met no error."""

    @contextmanager
    def open_page(path="/", **settings):
        context = browser.new_context(**settings)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        try:
            page.goto(page_address + path)
            page.wait_for_selector("textarea")
            # Gradio draws every field twice, and what was typed into the first one is lost. Until the second is there,
            # its veil "Loading..." lies over the page.
            page.locator("[data-testid=status-tracker].translucent").wait_for(state="detached")
            yield page
        except playwright.Error as error:
            error.add_note(f"errors: {errors}, shown: {page.locator('body').inner_text()}")
            raise
        finally:
            context.close()
        outside = [url for url in asked if not url.startswith((page_address, "data:", "blob:"))]
        assert outside == []
        assert errors == []

    return open_page


def open_tab(page, name, panel):
    """Click a tab and return what it shows, once it does: until then the tab before is the one that is seen."""
    page.get_by_role("tab", name=name, exact=True).click()
    opened = page.locator(f"#{panel}")
    opened.wait_for()
    return opened


def ask(panel, text):
    panel.locator("textarea").fill(text)
    press(panel)


def press(panel):
    panel.get_by_role("button", name="分析", exact=True).click()


def upload(panel, path):
    panel.locator("input[type=file]").set_input_files(path)
    # The progress shows the name too: only when the list of files does, the page has the file.
    panel.locator(f".file-preview [aria-label='{path.name}']").wait_for()


def test_a_sentence_with_a_script_in_it_is_shown_as_text(visit):
    with visit() as page:
        panel = page.locator("#sentence-zh")
        ask(panel, SCRIPT)
        expect(panel.locator(".shf-label")).to_have_text(re.compile("正面|负面"))
        # Spaces aside, which the tags' places may take.
        assert SCRIPT in panel.locator(".shf-card .shf-text").first.inner_text()
        assert panel.locator("mark.shf-for").first.is_visible()
        assert page.title() == "中文文本分类"


def test_empty_and_far_too_long_texts_are_explained(visit):
    with visit() as page:
        panel = page.locator("#sentence-zh")
        for text, message in (("", "请先输入文本"), ("好" * 100_000, "100,000 个字符"), ("@某人 ", "没有剩下文字")):
            ask(panel, text)
            expect(panel.locator(".shf-notice")).to_contain_text(message)


def test_examples_are_classified_at_a_click_in_every_tab_and_in_english(visit):
    with visit("/en", color_scheme="dark") as page:
        for tab, name, selector in (
            ("A sentence", "sentence-en", ".shf-label"),
            ("An article", "article-en", ".shf-chunks li"),
            ("A restaurant review", "review-en", ".shf-aspects"),
        ):
            panel = open_tab(page, tab, name)
            panel.locator(".gallery-item").first.click()
            panel.locator(selector).first.wait_for()
        expect(panel.locator(".shf-card").first).to_contain_text("of 18 aspects are mentioned")


def brightness(locator, style):
    colour = locator.evaluate(f"element => getComputedStyle(element).{style}")
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_can_be_read(visit, scheme):
    with visit(color_scheme=scheme) as page:
        panel = page.locator("#sentence-zh")
        ask(panel, "早餐非常好")
        panel.locator(".shf-label").wait_for()
        text = brightness(panel.locator(".shf-label"), "color")
        ground = brightness(page.locator("body"), "backgroundColor")
        assert (text > 600 and ground < 150) if scheme == "dark" else (text < 150 and ground > 600)


def test_nothing_is_wider_than_a_phone(visit):
    with visit(viewport={"width": 390, "height": 844}) as page:
        ask(page.locator("#sentence-zh"), "早餐非常好" * 30)
        page.locator("#sentence-zh .shf-label").wait_for()
        for tab, name in (
            ("一句话", "sentence-zh"),
            ("一篇文章", "article-zh"),
            ("餐厅点评", "review-zh"),
            ("文件", "file-zh"),
        ):
            panel = open_tab(page, tab, name)
            if tab in ("一篇文章", "餐厅点评"):
                panel.locator(".gallery-item").first.click()
                panel.locator(".shf-card").first.wait_for()
            page.wait_for_function("document.documentElement.scrollWidth <= 390")


def test_a_file_goes_up_and_comes_down_with_predictions(visit, tmp_path):
    # No other test, here or beside this one, has a file of this name.
    path = tmp_path / f"评论-{uuid4().hex}.csv"
    rows = pd.DataFrame({"编号": ["1", "2", "3", "4"], "评论": ["房间很吵", SCRIPT, "=1+1", ""]})
    rows.to_csv(path, index=False, encoding="gb18030")
    with visit() as page:
        panel = open_tab(page, "文件", "file-zh")
        upload(panel, path)
        press(panel)
        expect(panel.locator(".shf-notice")).to_contain_text("共 4 行")
        cells = panel.locator("[data-testid^=cell-]")
        cells.filter(has_text="房间很吵").first.wait_for()
        cells.filter(has_text="<script>").first.wait_for()
        assert page.title() == "中文文本分类"
        with page.expect_download() as download:
            panel.get_by_text("下载结果").click()
        download.value.save_as(tmp_path / "predictions.csv")
    predictions = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    assert predictions["评论"].tolist() == ["房间很吵", SCRIPT, "'=1+1", ""]
    assert predictions["reason"].tolist() == ["", "", "", "empty text"]
    assert set(predictions["predicted_label"]) <= {"positive", "negative", ""}
    # What a visitor uploads stays nowhere but where gradio removes it; our own copy goes right after the response.
    deadline = time.monotonic() + 60
    while list(Path(tempfile.gettempdir()).glob(f"*/{path.stem}-predictions.csv")):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_files_that_cannot_be_classified(visit, tmp_path):
    with visit() as page:
        panel = open_tab(page, "文件", "file-zh")
        press(panel)
        expect(panel.locator(".shf-notice")).to_contain_text("请先上传文件")
        path = tmp_path / "cities.csv"
        path.write_text("id,city\n1,北京\n", encoding="utf-8")
        upload(panel, path)
        press(panel)
        expect(panel.locator(".shf-notice")).to_contain_text("无法处理这个文件")
        expect(panel.locator(".shf-notice")).to_contain_text("cities.csv, found the columns id, city")


def test_a_file_that_is_too_large_is_explained(visit, tmp_path):
    path = tmp_path / "large.csv"
    path.write_bytes(b"text\n" + b"x" * 50_000_000)
    with visit() as page:
        open_tab(page, "文件", "file-zh").locator("input[type=file]").set_input_files(path)
        page.locator(".toast-body.error", has_text="20").wait_for()
