"""What others wrote is never calculated by a spreadsheet, and is read back as it was."""

import io

import pandas as pd
import pytest
from hypothesis import example, given, strategies as st

from sentiment_hf.data.delimited import FORMULA_STARTS, csv_text, guarded_cell, plain, plain_cell, write_csv
from sentiment_hf.data.tables import read_table

from .texts import characters, texts


@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-cmd", "@sum", "\t=1", "\r=1", "\n=1", "＝1+1", "'=1", "-1_000"])
def test_a_formula_becomes_text(cell):
    assert guarded_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-5", "+0.5", "-1e-5", "很好=好", "", "'", "'好'", None, 1.5, -2, True])
def test_anything_else_stays(cell):
    assert guarded_cell(cell) is cell


@given(texts)
@example("''=1")
@example("'-1")
def test_guarded_cells_are_read_back(text):
    guarded = guarded_cell(text)
    assert plain_cell(guarded) == text
    is_number = guarded == text
    assert is_number or not guarded.startswith(FORMULA_STARTS)


@given(st.lists(texts, min_size=1, max_size=4), characters)
def test_a_file_has_the_rows_that_were_written(tmp_path_factory, cells, column):
    frame = pd.DataFrame({"text": cells, f"-{column}": range(len(cells))}, dtype=object)
    path = write_csv(frame, tmp_path_factory.mktemp("csv") / "cells.csv")
    back = plain(read_table(path))
    assert back["text"].tolist() == [cell.encode("utf-8", "replace").decode() for cell in cells]
    assert csv_text(frame) == io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="").read()
