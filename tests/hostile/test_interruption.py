"""Processes killed at every change that they make to files, full disks, and places that take no writing.

What lies there afterwards is the old state or the new one, or says of itself that it is unfinished; started again, the
command goes on or says what to remove.
"""

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sentiment_hf.utils.files import REPLACEMENT, move_files, staging_folder

OWN_STAGING = f".staging-{platform.node()}-"
HERE = Path(__file__).parent
HAS_ONNX = all(find_spec(name) for name in ("optimum", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="needs the onnx extra")
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@pytest.fixture(scope="module")
def command():
    """`sentiment-hf` with some words and a fault; see `faults.py`."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "faults.py")],
        env={**os.environ, **SETTINGS},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:

        def run(*words, **fault):
            job = {"words": [str(word) for word in words], **{key: value for key, value in fault.items() if value}}
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield run
        process.stdin.close()


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory, reviews):
    path = tmp_path_factory.mktemp("rows") / "reviews.csv"
    reviews.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def training(rows_file, tmp_path_factory):
    """Words of a training of a few steps."""
    tiny = (
        "{hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, vocab_size: 400, max_position_embeddings: 64}"
    )
    return [
        *("train", "--task=reviews", f"--train_file={rows_file}", "--model=scratch", f"--config_overrides={tiny}"),
        *("--num_hidden_layers=1", "--max_length=32", "--max_train_rows=64", "--max_steps=2", "--learning_rate=2e-3"),
        *("--eval_strategy=steps", "--eval_steps=1", "--save_strategy=steps", "--save_steps=1", "--precision=fp32"),
        *(
            "--baseline=false",
            "--quantize=none",
            "--disable_tqdm=true",
            f"--cache_dir={tmp_path_factory.mktemp('cache')}",
        ),
    ]


@pytest.fixture(scope="module")
def run_folder(command, training, tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    done = command(*training, f"--output_dir={folder}")
    assert done["status"] == 0, "\n".join(done["said"][-20:])
    return folder


def state(folder):
    """Every file with a digest of what is in it, but for work in progress."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".staging-" not in str(path) and path.suffix != ".partial"
    }


def killed_everywhere(command, folder, words, prepare, at_most=None):
    """Kill a command before each change that it makes under a folder.

    Yields:
        Of each time, how it ended; the folder is as it was left then.
    """
    prepare()
    whole = command(*words, within=str(folder))
    assert whole["status"] == 0, "\n".join(whole["said"][-20:])
    places = range(1, whole["changes"] + 1)
    if at_most is not None and len(places) > at_most:
        places = sorted({1 + round(step * (len(places) - 1) / (at_most - 1)) for step in range(at_most)})
    assert places
    for place in places:
        prepare()
        ended = command(*words, within=str(folder), kill_at=place)
        assert ended["status"] == -signal.SIGKILL, "\n".join(ended["said"][-20:])
        yield ended


def one_sentence(ended):
    """The error of a command that refused."""
    said = "\n".join(ended["said"])
    assert ended["status"] == 2, said
    assert "Traceback" not in said
    errors = [line for line in ended["said"] if line.startswith("error: ")]
    assert len(errors) == 1, said
    return errors[0]


@needs_onnx
def test_export_killed_at_every_change(command, run_folder, tmp_path):
    folder = tmp_path / "run"
    words = ["compress", "export", f"--model={folder}", "--quantize=dynamic", "--max_drop=100"]
    shutil.copytree(run_folder, folder)
    assert command(*words)["status"] == 0
    onnx = {name for name in state(folder) if name.startswith("onnx/")}
    assert len(onnx) == 2
    before = state(folder)

    def prepare():
        # An older export of other weights: its files are told from new ones by their bytes.
        shutil.rmtree(folder)
        shutil.copytree(run_folder, folder)
        (folder / "onnx").mkdir()
        for name in onnx:
            (folder / name).write_bytes(b"an older export")

    old = hashlib.sha256(b"an older export").hexdigest()
    seen = []
    for ended in killed_everywhere(command, folder / "onnx", words, prepare, at_most=6):
        left = {name: digest for name, digest in state(folder).items() if name in onnx}
        assert set(left.values()) <= {old, *before.values()}
        fp32 = left.get("onnx/model.onnx")
        # Whatever stands beside the FP32 file is of the same export.
        assert all((digest == old) == (fp32 == old) for digest in left.values()), ended["last"]
        seen.append(sorted(left.items()))
    assert len({str(left) for left in seen}) >= 2, "killed before anything was moved: the test shows nothing"
    assert command(*words)["status"] == 0
    assert {name for name in state(folder) if name.startswith("onnx/")} == onnx
    assert not list(folder.rglob(".staging-*"))


def test_calibrate_killed_at_every_change(command, run_folder, rows_file, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, sure = tmp_path / "run", tmp_path / "sure"
    words = ["evaluate", "--calibrate", f"--model={folder}", f"--data={rows_file}", "--precision=0.1"]
    # A model that is much too sure, so that there is something to divide.
    shutil.copytree(run_folder, sure)
    weights = load_file(sure / "model.safetensors")
    weights["classifier.weight"] *= 100
    save_file(weights, sure / "model.safetensors", {"format": "pt"})

    def prepare():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sure, folder)

    prepare()
    old = state(folder)
    assert command(*words)["status"] == 0
    new, seen = state(folder), []
    changed = {name for name in new if new[name] != old.get(name)}
    assert {"config.json", "calibration.json", "model.safetensors"} <= changed
    for ended in killed_everywhere(command, folder, words, prepare, at_most=10):
        left = state(folder)
        if (folder / REPLACEMENT).is_dir() and left != new:
            # Nothing reads half of it.
            assert "a calibration that was cut off" in one_sentence(command("predict", f"--model={folder}", "房间"))
            seen.append("unfinished")
        else:
            assert left in (old, new), ended["last"]
            seen.append("old" if left == old else "new")
        again = command(*words)
        assert again["status"] == 0, "\n".join(again["said"][-20:])
        done = state(folder)
        assert all(done[name] == new[name] for name in changed - {"calibration.json", "reliability.png"})
        assert not list(folder.glob(".staging-*"))
    assert {"old", "unfinished"} <= set(seen)


def test_prune_killed_at_every_change(command, run_folder, rows_file, tmp_path):
    output = tmp_path / "small"
    words = [
        "compress",
        "prune",
        f"--model={run_folder}",
        "--vocabulary",
        f"--corpus={rows_file}",
        f"--output_dir={output}",
    ]

    def prepare():
        shutil.rmtree(output, ignore_errors=True)

    for ended in killed_everywhere(command, output, words, prepare, at_most=8):
        assert not (output / "config.json").exists(), ended["last"]
        again = command(*words)
        if state(output) and again["status"]:
            assert f"an empty folder at {output}" in one_sentence(again)
            assert "remove this one" in one_sentence(again)
        else:
            assert again["status"] == 0, "\n".join(again["said"][-20:])
            assert not list(output.rglob(".staging-*"))


def test_training_killed_while_it_writes(command, training, run_folder, tmp_path):
    folder = tmp_path / "run"
    words = [*training, f"--output_dir={folder}"]
    finished = state(run_folder)["model.safetensors"]
    went_on = []
    for ended in killed_everywhere(
        command, folder, words, lambda: shutil.rmtree(folder, ignore_errors=True), at_most=5
    ):
        assert not (folder / "metrics.json").exists(), ended["last"]
        if (folder / "config.json").exists():
            assert state(folder)["model.safetensors"] == finished
        again = command(*words, "--resume_from_checkpoint=true")
        assert again["status"] == 0, "\n".join(again["said"][-20:])
        assert state(folder)["model.safetensors"] == finished
        went_on.append(ended["last"])
    assert len(set(went_on)) == 5


def test_a_sweep_killed_while_it_writes_its_tables(command, training, run_folder, tmp_path):
    import yaml

    folder, keys = tmp_path / "sweep", dict(word[2:].split("=", 1) for word in training[1:])
    plain = {key: yaml.safe_load(value) for key, value in keys.items() if key not in ("baseline", "disable_tqdm")}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(plain, allow_unicode=True), encoding="utf-8")
    (tmp_path / "sweep.yaml").write_text("base: base.yaml\nlist: {plain: {}}\nseeds: [42]\n", encoding="utf-8")
    words = ["sweep", "run", f"--config={tmp_path / 'sweep.yaml'}", f"--output_dir={folder}", "--baseline=false"]
    planned = folder_of_its_run(words)

    def prepare():
        # Its one run is finished; what is left are the tables.
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run_folder, planned)

    tables = []
    for ended in killed_everywhere(command, folder, words, prepare, at_most=6):
        for name in ("results.csv", "table.md"):
            if (folder / name).exists():
                assert (folder / name).read_text(encoding="utf-8").endswith("\n"), ended["last"]
        again = command(*words)
        assert again["status"] == 0, "\n".join(again["said"][-20:])
        tables.append(state(folder))
    assert all(table == tables[0] for table in tables)


def folder_of_its_run(words):
    """Where a sweep of one setting and one seed keeps its run."""
    from sentiment_hf.sweeps.plan import plan_runs
    from sentiment_hf.sweeps.sweep import read_sweep

    config, output = (Path(word.partition("=")[2]) for word in words[2:4])
    (run,) = plan_runs(read_sweep(config), output, words[4:])
    return run.folder


def test_a_training_ends_with_the_sweep_that_started_it():
    child = "import time; from sentiment_hf.utils.hardware import end_with_parent; end_with_parent(); "
    child += "print('at work', flush=True); time.sleep(3600)"
    parent = f"""
import subprocess, sys, time
from sentiment_hf.utils.hardware import environment_of_child
subprocess.Popen([sys.executable, "-c", {child!r}], env=environment_of_child())
time.sleep(3600)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a process that its parent is gone")
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "at work\n"
        process.kill()
        # The child holds the other end: this returns when it is gone, too.
        assert process.stdout.read() == ""


def test_work_of_a_process_that_was_killed_is_removed_by_the_next(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from sentiment_hf.utils.files import REPLACEMENT, staging_folder\n"
    )
    code += (
        "with staging_folder(Path(sys.argv[1])) as folder: (folder / 'half').write_text('x'); os.kill(os.getpid(), 9)"
    )
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code, tmp_path]).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    elsewhere, at_work = tmp_path / ".staging-another-machine-1-abc", tmp_path / f"{OWN_STAGING}{os.getppid()}-abc"
    elsewhere.mkdir()
    at_work.mkdir()
    with staging_folder(tmp_path) as own, staging_folder(tmp_path) as second:
        assert {own, second, elsewhere, at_work} == set(tmp_path.iterdir())
    assert set(tmp_path.iterdir()) == {elsewhere, at_work}


def test_a_move_that_fails_half_way_leaves_no_folder_that_looks_whole(tmp_path):
    source, target = tmp_path / "new", tmp_path / "out"
    for folder in (source, target):
        folder.mkdir()
        (folder / "a.json").write_text(folder.name)
    (source / "b.csv").write_text("rows")
    # No file takes the place of a folder.
    (target / "b.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        move_files(source, target, last="a.json")
    assert [path.name for path in target.iterdir()] == ["b.csv"]


def writers(run_folder, rows_file, training, output):
    """Verbs that write, as words, by name."""
    verbs = {
        "train": [*training, f"--output_dir={output}"],
        "prune": [
            "compress",
            "prune",
            f"--model={run_folder}",
            "--vocabulary",
            f"--corpus={rows_file}",
            f"--output_dir={output}",
        ],
        "predict": ["predict", f"--model={run_folder}", f"--file={rows_file}", f"--output={output}/predictions.csv"],
        "audit": ["audit", f"--train_file={rows_file}", f"--write_clean={output}"],
        "findings": ["sweep", "report", str(run_folder), f"--output={output}/findings.md"],
        "errors": ["evaluate", "--errors", f"--model={run_folder}", f"--data={rows_file}", f"--output_dir={output}"],
    }
    if HAS_ONNX:
        verbs["export"] = ["compress", "export", f"--model={run_folder}", f"--output_dir={output}"]
    return verbs


def check_writers(command, run_folder, rows_file, training, output, **fault):
    before = state(run_folder)
    for name, words in writers(run_folder, rows_file, training, output).items():
        said = one_sentence(command(*words, **fault))
        assert any(reason in said for reason in ("a place to write to", "a folder for the run", "an empty folder")), (
            name,
            said,
        )
        if output.is_dir():
            # What a training that has only begun leaves says so: it has a recipe and no model.
            finished = {"config.json", "model.safetensors", "metrics.json"} if name == "train" else state(output).keys()
            if name == "errors":
                # The scores are a file of their own, which was whole before the report began.
                finished -= {"metrics.json"}
            assert not finished & state(output).keys(), (name, said)
            for left in output.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    assert state(run_folder) == before


def test_no_more_bytes_are_taken(command, run_folder, rows_file, training, tmp_path):
    check_writers(command, run_folder, rows_file, training, tmp_path / "out", file_limit=1000)


def test_a_full_disk(command, run_folder, rows_file, training, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        check_writers(command, run_folder, rows_file, training, disk / "out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_place_that_takes_no_writing(command, run_folder, rows_file, training, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    check_writers(command, run_folder, rows_file, training, tmp_path / "file" / "out")


def test_a_disk_that_is_read_only(command, run_folder, rows_file, training, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a disk can be mounted by root alone")
    try:
        check_writers(command, run_folder, rows_file, training, disk / "out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
