"""A table and its predictions as a file: every row once and in its place, in every kind, whole or not there."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiment_hf.cli.main import main

# Runs a command that predicts one block of rows, says so by a file, and then waits to be killed.
STOPS_AFTER_A_BLOCK = """if True:
    import pathlib, sys, time
    import sentiment_hf.batch.shards as batch
    class Waiting:
        def __init__(self, *_, **__): pass
        def __enter__(self): return self
        def __exit__(self, *_): pass
        def update(self, rows): pathlib.Path(sys.argv[1]).touch(), time.sleep(1200)
    import tqdm
    tqdm.tqdm = Waiting
    from sentiment_hf.cli.main import main
    main(sys.argv[2:])
"""


@pytest.fixture
def table(reviews):
    """600 rows with an id, of which some have no text."""
    texts = [*reviews["text"], *reviews["text"][:168]]
    texts[3], texts[500] = "", " "
    return pd.DataFrame({"id": [f"0{n}" for n in range(600)], "text": texts, "stars": [n % 5 for n in range(600)]})


def write(table, path):
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_json(path, orient="records", lines=True, force_ascii=False)
    return path


def read(path):
    """Predictions as (text, label, ids) whatever the kind."""
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[1]
    if kind == "parquet":
        rows = pq.read_table(path).to_pylist()
        return [(row["text"], row["predicted_label"], row["id"]) for row in rows]
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = data.decode("utf-8-sig").split("\n")
    if kind == "jsonl":
        return [(row["text"], row["label"], None) for row in map(json.loads, lines[:-1])]
    rows = csv.DictReader(lines, delimiter="\t" if kind == "tsv" else ",")
    return [(row["text"], row["predicted_label"] or None, row["id"]) for row in rows]


def predict(model_folder, source, output, *words):
    return main(["predict", "--model", str(model_folder), "--file", str(source), "--output", str(output), *words])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_row_keeps_its_place_and_its_columns(model_folder, table, tmp_path, suffix):
    from sentiment_hf.inference.predictor import SentimentClassifier

    source = write(table, tmp_path / f"in{suffix}")
    predictions = SentimentClassifier.from_pretrained(model_folder)(table["text"])
    texts = table["text"].tolist()
    for kind in ("csv", "tsv.gz", "jsonl", "jsonl.gz", "parquet"):
        output = tmp_path / f"out.{kind}"
        assert predict(model_folder, source, output) == 0
        found = read(output)
        assert [text for text, _, _ in found] == texts
        assert [label for _, label, _ in found] == [prediction.label for prediction in predictions]
        if not kind.startswith("jsonl"):
            assert [identity for _, _, identity in found] == table["id"].tolist()
    assert not list(tmp_path.glob("*.partial"))


def test_parquet_keeps_the_types_of_parquet(model_folder, tmp_path):
    table = pa.table({"id": pa.array([2**60 + 1, None], pa.int64()), "text": ["很好", None], "tags": [["一"], None]})
    pq.write_table(table, tmp_path / "in.parquet")
    assert predict(model_folder, tmp_path / "in.parquet", tmp_path / "out.parquet") == 0
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(["id", "text", "tags"]).equals(table)
    assert found.schema.field("probability").type == pa.float64()
    assert found["reason"].to_pylist() == [None, "missing text"]
    # Predicted once more, the predictions stand beside the old ones.
    assert predict(model_folder, tmp_path / "out.parquet", tmp_path / "again.parquet") == 0
    again = pq.read_table(tmp_path / "again.parquet")
    assert again.select(found.column_names).equals(found)
    assert again["predicted_label_2"].equals(found["predicted_label"])
    assert again.schema.field("probability_2").type == pa.float64()


def test_cells_that_a_spreadsheet_would_calculate_are_guarded(model_folder, tmp_path):
    table = pd.DataFrame({"=id": ["@SUM(1)", "-1.5"], "text": ["=HYPERLINK(1)，很好", "-很差"]})
    for kind, separator in (("csv", ","), ("tsv", "\t")):
        assert predict(model_folder, write(table, tmp_path / "in.csv"), tmp_path / f"out.{kind}") == 0
        found = pd.read_csv(tmp_path / f"out.{kind}", sep=separator, dtype=str)
        assert found["'=id"].tolist() == ["'@SUM(1)", "-1.5"]
        assert found["text"].tolist() == ["'=HYPERLINK(1)，很好", "'-很差"]
    assert predict(model_folder, tmp_path / "in.csv", tmp_path / "out.parquet") == 0
    # What programs read stays as it was.
    assert pq.read_table(tmp_path / "out.parquet")["text"].to_pylist() == table["text"].tolist()


def killed_after_a_block(*words, sign):
    """Start a command, and kill it when it has predicted a block."""
    command = [sys.executable, "-c", STOPS_AFTER_A_BLOCK, *map(str, [sign, *words])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not sign.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait(60)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_killed_there_is_no_file_and_started_again_the_whole(model_folder, table, tmp_path, kind, caplog):
    source, output = write(table, tmp_path / "in.csv"), tmp_path / f"out.{kind}"
    words = ["predict", "--model", model_folder, "--file", source, "--output", output]
    killed_after_a_block(*words, sign=tmp_path / "sign")
    assert (tmp_path / f"out.{kind}.partial").exists()
    assert not output.exists()
    assert main([str(word) for word in words]) == 0
    assert "was left by a stopped run and is started again; --num_shards N can resume instead" in caplog.text
    assert [identity for _, _, identity in read(output)] == table["id"].tolist()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_parts_are_the_whole_in_order(model_folder, table, tmp_path, kind):
    source = write(table, tmp_path / "in.csv")
    assert predict(model_folder, source, tmp_path / f"whole.{kind}") == 0
    words = ["--num_shards", "7", "--part_kind", kind]
    for indices in (["5", "2"], ["0", "2"]):
        assert predict(model_folder, source, tmp_path / "parts", *words, "--shard_index", *indices) == 0
    assert len(list((tmp_path / "parts").glob("part-*"))) == 3
    kept = (tmp_path / "parts" / f"part-00002-of-00007.{kind}").stat()
    assert predict(model_folder, source, tmp_path / "parts", *words) == 0
    assert (tmp_path / "parts" / f"part-00002-of-00007.{kind}").stat() == kept
    parts = sorted((tmp_path / "parts").glob("part-*"))
    assert [row for part in parts for row in read(part)] == read(tmp_path / f"whole.{kind}")
    assert len(parts) == 7
    if kind == "parquet":
        assert len(pd.read_parquet(tmp_path / "parts")) == 600


def test_processes_share_the_parts(model_folder, table, tmp_path, monkeypatch):
    source, folder = write(table[:20], tmp_path / "in.csv"), tmp_path / "parts"
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, indices in (("1", [1, 3]), ("0", [0, 1, 2, 3, 4])):
        monkeypatch.setenv("RANK", rank)
        assert predict(model_folder, source, folder, "--num_shards", "5", "--top_k", "1") == 0
        assert sorted(folder.glob("part-*")) == [folder / f"part-0000{index}-of-00005.jsonl" for index in indices]
    rows = [json.loads(line) for part in sorted(folder.glob("part-*")) for line in part.open(encoding="utf-8")]
    assert [row["text"] for row in rows] == table["text"][:20].tolist()
    assert [len(row["top"]) for row in rows] == [0 if row["label"] is None else 1 for row in rows]


def test_a_killed_job_goes_on_where_it_was(model_folder, table, tmp_path):
    source, folder = write(table, tmp_path / "in.csv"), tmp_path / "parts"
    words = ["predict", "--model", model_folder, "--file", source, "--output", folder, "--num_shards", 3]
    assert main([str(word) for word in [*words, "--shard_index", 1]]) == 0
    first = (folder / "part-00001-of-00003.jsonl").stat()
    killed_after_a_block(*words, sign=tmp_path / "sign")
    assert len(list(folder.glob(".part-00000*.partial"))) == 1
    assert [path.name for path in folder.glob("part-*")] == ["part-00001-of-00003.jsonl"]
    assert main([str(word) for word in words]) == 0
    assert (folder / "part-00001-of-00003.jsonl").stat() == first
    rows = [row for part in sorted(folder.glob("part-*")) for row in read(part)]
    assert [text for text, _, _ in rows] == table["text"].tolist()
    assert not list(folder.glob(".*"))


def test_another_job_in_the_same_folder_is_refused(model_folder, table, tmp_path, capsys):
    source, folder = write(table[:30], tmp_path / "in.csv"), tmp_path / "parts"
    assert predict(model_folder, source, folder, "--num_shards", "2", "--shard_index", "0") == 0
    manifest = (folder / "_manifest.json").read_bytes()
    other = write(table[:31], tmp_path / "other.csv")
    config = model_folder / "config.json"
    for found, words, given in (
        ("the input that the parts in", ["--num_shards", "2"], other),
        ("the num_shards that the parts in", ["--num_shards", "3"], source),
        ("the kind that the parts in", ["--num_shards", "2", "--part_kind", "csv"], source),
        ("the top_k that the parts in", ["--num_shards", "2", "--top_k", "1"], source),
    ):
        capsys.readouterr()
        assert predict(model_folder, given, folder, *words) == 2
        assert found in capsys.readouterr().err
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert predict(model_folder, source, folder, "--num_shards", "2") == 2
    assert "the model that the parts in" in capsys.readouterr().err
    assert (folder / "_manifest.json").read_bytes() == manifest
    (folder / "_manifest.json").unlink()
    assert predict(model_folder, source, folder, "--num_shards", "2") == 2
    assert "_manifest.json beside the parts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["--output", "out.docx"], {}, "--output ending in .csv"),
        (["--output", "out.csv", "--num_shards", "2"], {}, "a folder for --output"),
        (["--num_shards", "2"], {}, "--file and --output with --num_shards"),
        (["--output", "parts", "--num_shards", "0"], {}, "--num_shards of at least 1"),
        (["--output", "parts", "--num_shards", "2", "--shard_index", "2"], {}, "--shard_index from 0 to 1"),
        (["--output", "out.csv", "--shard_index", "0"], {}, "--num_shards with --shard_index"),
        (["--output", "parts", "--num_shards", "2", "--num_actors", "2"], {}, "--engine ray with --num_actors"),
        (["--output", "out.csv"], {"RANK": "1", "WORLD_SIZE": "2"}, "--num_shards with 2 processes"),
        (["--output", "p", "--num_shards", "2", "--engine", "ray"], {"WORLD_SIZE": "2"}, "one process with --engine"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(
    model_folder, tmp_path, monkeypatch, capsys, words, environment, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("text\n很好\n", encoding="utf-8")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["predict", "--model", str(model_folder), "--file", "in.csv", *words]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "model"]


@pytest.mark.parametrize(("seen", "local", "own"), [("", "1", "1"), ("4,6", "1", "6"), ("4,6", "2", "4")])
def test_each_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch, seen, local, own):
    from sentiment_hf.batch.shards import take_own_gpu

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    monkeypatch.setenv("LOCAL_RANK", local)
    take_own_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own
