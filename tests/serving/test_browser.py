"""The page as a visitor sees it, in a real browser: Chromium, driven by Playwright."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("gradio", reason="needs the demo extra")
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")

CHROMIUM = shutil.which("chromium", path="/usr/bin")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's browser: apt-get install chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
)
SCRIPT = '房间很吵<script>document.title="hacked"</script><img src=x onerror=\'document.title="hacked"\'>早餐非常好'
SECOND = 1000


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
        page = context.new_page()
        page.set_default_timeout(60 * SECOND)
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_address + path)
        page.wait_for_selector("textarea")
        yield page
        outside = [url for url in asked if not url.startswith((page_address, "data:", "blob:"))]
        context.close()
        assert outside == []
        assert errors == []

    return open_page


def shown(page, selector):
    return page.locator(selector).locator("visible=true").first


def ask(page, text, button="分析"):
    shown(page, "textarea").fill(text)
    page.get_by_role("button", name=button, exact=True).locator("visible=true").click()


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()
    page.wait_for_timeout(300)


def upload(page, path):
    for attempt in range(4):
        page.locator("#upload-zh input[type=file]").set_input_files(path)
        try:
            shown(page, f"text={path.name}").wait_for(timeout=15_000)
            break
        except playwright.TimeoutError:
            # Gradio draws the field anew after an answer, and forgets a file that came at that moment.
            assert attempt < 3
    page.get_by_role("button", name="分析", exact=True).locator("visible=true").click()


def test_a_sentence_with_a_script_in_it_is_shown_as_text(visit):
    with visit() as page:
        ask(page, SCRIPT)
        shown(page, ".shf-label").wait_for()
        # Spaces aside, which the tags' places may take.
        assert SCRIPT in shown(page, ".shf-card .shf-text").inner_text()
        assert shown(page, "mark.shf-for").is_visible()
        assert page.title() == "中文文本分类"
        assert shown(page, ".shf-label").inner_text().startswith(("正面", "负面"))


def test_empty_and_far_too_long_texts_are_explained(visit):
    with visit() as page:
        for text, message in (("", "请先输入文本"), ("好" * 100_000, "100,000 个字符"), ("@某人 ", "没有剩下文字")):
            ask(page, text)
            shown(page, f".shf-notice:has-text('{message}')").wait_for()


def test_examples_answer_at_a_click_in_every_tab_and_in_english(visit):
    with visit("/en", color_scheme="dark") as page:
        for tab, answer in (
            ("A sentence", ".shf-label"),
            ("An article", ".shf-passages li"),
            ("A restaurant review", ".shf-aspects"),
        ):
            open_tab(page, tab)
            shown(page, ".gallery-item").click()
            shown(page, answer).wait_for()
        assert "of 18 aspects are mentioned" in shown(page, ".shf-card").inner_text()


def brightness(page, selector, style):
    colour = shown(page, selector).evaluate(f"element => getComputedStyle(element).{style}")
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_can_be_read(visit, scheme):
    with visit(color_scheme=scheme) as page:
        ask(page, "早餐非常好")
        shown(page, ".shf-label").wait_for()
        text, ground = brightness(page, ".shf-label", "color"), brightness(page, "body", "backgroundColor")
        assert (text > 600 and ground < 150) if scheme == "dark" else (text < 150 and ground > 600)


def test_nothing_is_wider_than_a_phone(visit):
    with visit(viewport={"width": 390, "height": 844}) as page:
        ask(page, "早餐非常好" * 30)
        shown(page, ".shf-label").wait_for()
        for tab in ("一句话", "一篇文章", "餐厅点评", "文件"):
            open_tab(page, tab)
            if tab in ("一篇文章", "餐厅点评"):
                shown(page, ".gallery-item").click()
                shown(page, ".shf-card").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab


def test_a_file_goes_up_and_comes_down_answered(visit, tmp_path):
    path = tmp_path / "评论.csv"
    rows = pd.DataFrame({"编号": ["1", "2", "3", "4"], "评论": ["房间很吵", SCRIPT, "=1+1", ""]})
    rows.to_csv(path, index=False, encoding="gb18030")
    with visit() as page:
        open_tab(page, "文件")
        upload(page, path)
        shown(page, ".shf-notice:has-text('共 4 行')").wait_for()
        shown(page, "[data-testid^=cell-]:has-text('房间很吵')").wait_for()
        assert shown(page, "[data-testid^=cell-]:has-text('<script>')").is_visible()
        assert page.title() == "中文文本分类"
        with page.expect_download() as download:
            shown(page, "text=下载结果").click()
        download.value.save_as(tmp_path / "answers.csv")
    # What a visitor uploads stays nowhere but where gradio removes it.
    assert list(Path(tempfile.gettempdir()).glob(f"*/{path.stem}-answers.csv")) == []
    answers = pd.read_csv(tmp_path / "answers.csv", keep_default_na=False)
    assert answers["评论"].tolist() == ["房间很吵", SCRIPT, "'=1+1", ""]
    assert answers["reason"].tolist() == ["", "", "", "empty text"]
    assert set(answers["predicted_label"]) <= {"positive", "negative", ""}


def test_files_that_cannot_be_answered(visit, tmp_path):
    with visit() as page:
        open_tab(page, "文件")
        page.get_by_role("button", name="分析", exact=True).locator("visible=true").click()
        shown(page, ".shf-notice:has-text('请先上传文件')").wait_for()
        path = tmp_path / "cities.csv"
        path.write_text("id,city\n1,北京\n", encoding="utf-8")
        upload(page, path)
        notice = shown(page, ".shf-notice:has-text('无法处理这个文件')")
        notice.wait_for()
        assert "cities.csv, found the columns id, city" in notice.inner_text()
    with visit() as page:
        open_tab(page, "文件")
        path = tmp_path / "large.csv"
        path.write_bytes(b"text\n" + b"x" * 50_000_000)
        page.locator("#upload-zh input[type=file]").set_input_files(path)
        shown(page, ".toast-body.error").wait_for()
        assert "20" in shown(page, ".toast-body.error").inner_text()
