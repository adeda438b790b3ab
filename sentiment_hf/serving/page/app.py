"""Assemble and launch the demo page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentiment_hf.serving.page.models import PageModels
from sentiment_hf.utils.exceptions import MissingExtraError

try:
    import gradio as gr
    from gradio.components import Navbar

    from sentiment_hf.serving.page.tabs import MAX_FILE_MB, article_tab, file_tab, review_tab, sentence_tab
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "gradio", "demo") from error
from sentiment_hf.serving.page.wording import CHINESE, ENGLISH, Wording

STYLE = Path(__file__).with_name("style.css")
# Visitors that wait in the queue; the next is told that it is full.
MAX_WAITING = 200
# Seconds: how often old uploads and results are looked for, and how old they are when they go.
CLEAN_UP = (600, 3600)
# What the system has: nothing is fetched, and Chinese is drawn in a font made for it.
FONTS = ("system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif")


def build_page(models: PageModels) -> gr.Blocks:
    """Build the page, in Chinese at `/` and in English at `/en`.

    Args:
        models: what the tabs ask; a tab without a model is left out.
    """
    with gr.Blocks(title=CHINESE.title, analytics_enabled=False, delete_cache=CLEAN_UP) as page:
        _fill(models, CHINESE)
    with page.route("English", "en"):
        _fill(models, ENGLISH)
    page.queue(max_size=MAX_WAITING)
    return page


def _fill(models: PageModels, wording: Wording) -> None:
    Navbar(main_page_name="中文")
    gr.Markdown(f"# {wording.title}\n{wording.introduction}")
    with gr.Tabs():
        if models.sentence is not None:
            sentence_tab(models.sentence, wording)
        if models.article is not None:
            article_tab(models.article, wording)
        if models.review is not None:
            review_tab(models.review, wording)
        file_tab(models.all, wording)


def launch_page(models: PageModels, **settings: Any) -> tuple[str, gr.Blocks]:
    """Serve the page; nothing is fetched from or reported to another host.

    Args:
        models: what the tabs ask.
        settings: other arguments of gradio's `launch`, for example `server_port`.

    Returns:
        The address, and the page, whose `close` ends it.
    """
    page = build_page(models)
    theme = gr.themes.Default(primary_hue="teal", font=FONTS, font_mono=("ui-monospace", "monospace"))
    _, address, _ = page.launch(
        theme=theme,
        css_paths=STYLE,
        max_file_size=f"{MAX_FILE_MB}mb",
        footer_links=["api", "settings"],
        ssr_mode=False,
        **settings,
    )
    return address, page


def launch_space(pin: str | Path) -> None:
    """Run a Space: the page with the models that `pin` names, until the Space is stopped.

    Args:
        pin: `space.json` beside the Space's app, `{"model": "user/model", "revision": "…"}`, and likewise
            `topics_model` and `aspects_model` with their revisions; without the file, the classifier that comes with
            the package.

    Raises:
        InputError: the file is malformed or a model does not load.
    """
    launch_page(PageModels.of_space(Path(pin)))
