"""The tabs of the demo page: layout, callbacks, and the files that they read and write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
import pandas as pd

from sentiment_hf.batch.prediction_files import free_names
from sentiment_hf.data.columns import TEXT_COLUMNS, pick_column
from sentiment_hf.data.delimited import guarded, write_csv
from sentiment_hf.data.tables import read_table
from sentiment_hf.data.workbooks import write_workbook
from sentiment_hf.serving.page.drawing import aspect_prediction, coloured_words, label_prediction, notice, top_chunks
from sentiment_hf.serving.page.models import PageModel
from sentiment_hf.serving.page.wording import ANY_SENTENCES, ARTICLES, LONG_TEXTS, REVIEWS, SENTENCES, Wording
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

# Characters that a text may have.
SENTENCE_LIMIT, ARTICLE_LIMIT, REVIEW_LIMIT = 2_000, 50_000, 5_000
MAX_FILE_MB = 20
PREVIEW_ROWS = 50
TOP_K = 3
# Characters of an example that its button shows.
EXAMPLE_LABEL = 22
# What runs at the same time; the rest waits in the queue.
TEXTS_AT_ONCE, FILES_AT_ONCE = 4, 1

# gradio fills in its own wherever it finds this default.
PROGRESS = gr.Progress()


def predict_sentence(model: PageModel, text: str, wording: Wording) -> str:
    """Label, bars and coloured words of a sentence, as HTML."""
    prediction = model.labels([text], TOP_K)[0]
    shown = label_prediction(prediction, model.classifier.calibration.threshold, wording)
    if not prediction.top:
        return shown
    # Also where the model abstains: the words of the label that it nearly gave.
    return shown + coloured_words(model.explain(text, prediction.top[0][0]), wording)


def predict_article(model: PageModel, text: str, wording: Wording) -> str:
    """Topic and ranked chunks of an article, as HTML."""
    prediction = model.labels([text], TOP_K, chunks=True)[0]
    return label_prediction(prediction, model.classifier.calibration.threshold, wording) + top_chunks(
        prediction, wording
    )


def predict_review(model: PageModel, text: str, wording: Wording) -> str:
    """Aspects and stars of a review, as HTML."""
    aspects = [cell.name for cell in model.classifier.task.class_cells()]
    return aspect_prediction(model.aspects([text])[0], aspects, wording)


def checked(
    predict: Callable[[PageModel, str, Wording], str], model: PageModel, limit: int, wording: Wording
) -> Callable[[str], str]:
    """Build a button's function, which returns a prediction, or a sentence that says what is wrong with the text."""

    def respond(text: str) -> str:
        if not text or not text.strip():
            return notice(wording.empty)
        if len(text) > limit:
            return notice(wording.too_long.format(found=len(text), limit=limit))
        try:
            # Half a surrogate pair, which a client can send, is no character that the page could repeat.
            return predict(model, text.encode("utf-8", "replace").decode("utf-8"), wording)
        except Exception:
            # A visitor can do nothing with a stack trace, and it may tell more than it should.
            logger.exception("a text of %d characters could not be classified", len(text))
            return notice(wording.fails)

    return respond


def text_tab(
    name: str,
    respond: Callable[[str], str],
    examples: tuple[str, ...],
    lines: int,
    wording: Wording,
) -> None:
    """Add a tab with a text on one side and the prediction on the other.

    Args:
        name: the title's key in the wording, and the name of the function for clients.
        respond: text -> HTML.
        examples: texts to click.
        lines: height of the text box.
        wording: the page's language.
    """
    titles = {"sentence": wording.sentence, "article": wording.article, "review": wording.review}
    with gr.Tab(titles[name], elem_id=f"{name}-{wording.language}"), gr.Row():
        with gr.Column(min_width=320):
            text = gr.Textbox(label=wording.text, placeholder=wording.text_hint, lines=lines, max_lines=2 * lines)
            button = gr.Button(wording.ask, variant="primary")
            shown = gr.HTML(render=False, elem_classes="shf-prediction")
            gr.Examples(
                [[example] for example in examples],
                [text],
                [shown],
                respond,
                cache_examples=False,
                run_on_click=True,
                label=wording.examples,
                # Long texts have no width in a tab that is not shown yet.
                example_labels=[_shortened(example) for example in examples],
                api_name=f"{name}_example_{wording.language}",
            )
        with gr.Column(min_width=320):
            shown.render()
    gr.on(
        [button.click, text.submit],
        respond,
        [text],
        [shown],
        api_name=f"{name}_{wording.language}",
        concurrency_limit=TEXTS_AT_ONCE,
        concurrency_id="texts",
        show_progress="minimal",
    )


def _shortened(text: str) -> str:
    return text if len(text) <= EXAMPLE_LABEL else f"{text[:EXAMPLE_LABEL]}…"


def sentence_tab(model: PageModel, wording: Wording) -> None:
    examples = SENTENCES.get(model.classifier.task.name, ANY_SENTENCES)
    text_tab("sentence", checked(predict_sentence, model, SENTENCE_LIMIT, wording), examples, 4, wording)


def article_tab(model: PageModel, wording: Wording) -> None:
    examples = LONG_TEXTS.get(model.classifier.task.name, ARTICLES)
    text_tab("article", checked(predict_article, model, ARTICLE_LIMIT, wording), examples, 12, wording)


def review_tab(model: PageModel, wording: Wording) -> None:
    text_tab("review", checked(predict_review, model, REVIEW_LIMIT, wording), REVIEWS, 6, wording)


def file_tab(models: list[PageModel], wording: Wording) -> None:
    """Add a tab that classifies a whole table."""

    def respond(
        path: str | None, place: int, text_column: str, progress: gr.Progress = PROGRESS
    ) -> Iterator[tuple[Any, Any, Any]]:
        hidden = gr.update(visible=False)
        if path is None:
            yield notice(wording.file_first), hidden, hidden
            return
        # gradio takes a copy of the result, which it removes after a while; this one goes at once.
        with TemporaryDirectory() as folder:
            try:
                model = models[place]
                table, column = read_texts(Path(path), text_column)
                predicted = with_predictions(model, table, column, lambda *done: progress(done, desc=wording.reading))
                written = write_table(predicted, Path(path), Path(folder))
            except InputError as error:
                yield notice(wording.file_fails + str(error)), hidden, hidden
                return
            except Exception:
                logger.exception("a file could not be classified")
                yield notice(wording.fails), hidden, hidden
                return
            said = notice(f"{wording.done.format(rows=len(table))} {wording.table_note}", "note")
            preview = guarded(predicted.head(PREVIEW_ROWS)).astype(object).where(lambda cell: cell.notna(), "")
            yield said, gr.update(value=preview, visible=True), gr.update(value=str(written), visible=True)

    with gr.Tab(wording.file, elem_id=f"file-{wording.language}"):
        with gr.Row():
            with gr.Column(min_width=320):
                label = wording.upload.format(size=MAX_FILE_MB, rows=MAX_ROWS)
                upload = gr.File(
                    label=label, file_types=list(ENDINGS), height=160, elem_id=f"upload-{wording.language}"
                )
            with gr.Column(min_width=320):
                choices = [(model.name, place) for place, model in enumerate(models)]
                chosen = gr.Radio(choices, value=0, label=wording.model, visible=len(choices) > 1)
                column = gr.Textbox(label=wording.text_column, placeholder=wording.text_column_hint, max_lines=1)
                button = gr.Button(wording.ask, variant="primary")
        said = gr.HTML()
        download = gr.DownloadButton(wording.download, visible=False, variant="secondary")
        preview = gr.Dataframe(
            label=wording.preview.format(rows=PREVIEW_ROWS),
            visible=False,
            interactive=False,
            wrap=True,
            max_height=420,
        )
    button.click(
        respond,
        [upload, chosen, column],
        [said, preview, download],
        api_name=f"file_{wording.language}",
        concurrency_limit=FILES_AT_ONCE,
        concurrency_id="files",
        show_progress_on=said,
    )


# Endings of files that the page takes.
WORKBOOKS = (".xlsx", ".xls")
ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", *WORKBOOKS)
MAX_ROWS = 20_000
ROWS_PER_BLOCK = 64


def read_texts(path: Path, text_column: str = "") -> tuple[pd.DataFrame, str]:
    """Read a table that was uploaded, and find the name of its text column.

    Raises:
        InputError: no table, no such column, or too many rows; the message names the file without its folder.
    """
    try:
        table = read_table(path)
        column = pick_column(table, text_column.strip() or None, TEXT_COLUMNS, "text", path.name)
    except InputError as error:
        raise InputError(
            error.expected.replace(str(path), path.name), error.found.replace(str(path), path.name), error.remedy
        ) from None
    if len(table) > MAX_ROWS:
        raise InputError(f"at most {MAX_ROWS:,} rows", f"{len(table):,}", "Split the file.")
    return table, column


def with_predictions(
    model: PageModel, table: pd.DataFrame, column: str, progress: Callable[[int, int], Any]
) -> pd.DataFrame:
    """Return the table with the model's predictions in columns of their own.

    Args:
        model: its turn is taken block by block.
        table: any columns.
        column: the one with the texts.
        progress: told `(rows done, rows in all)` before each block.
    """
    texts = table[column].tolist()
    rows: list[dict[str, Any]] = []
    for start in range(0, len(texts), ROWS_PER_BLOCK):
        progress(start, len(texts))
        block = texts[start : start + ROWS_PER_BLOCK]
        predictions = model.aspects(block) if model.has_aspects else model.labels(block, top_k=1)
        rows += [prediction.row() for prediction in predictions]
    names = free_names(model.classifier.task.prediction_columns(), table.columns)
    return table.assign(**{free: [row.get(name) for row in rows] for name, free in names.items()})


def write_table(table: pd.DataFrame, path: Path, folder: Path) -> Path:
    """Write predictions as the kind of file that was uploaded: a workbook for a workbook, else csv."""
    name = f"{path.stem}-predictions"
    if path.suffix.lower() in WORKBOOKS:
        return write_workbook(table, folder / f"{name}.xlsx")
    return write_csv(table, folder / f"{name}.csv")
