"""Sweeps of tiny real runs: what is planned, what is refused, and what a stopped or failing sweep leaves."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from sentiment_hf.cli.main import main
from sentiment_hf.sweeps import ablation
from sentiment_hf.sweeps.ablation import Seats, visible_gpus
from sentiment_hf.sweeps.plan import Outcome, plan_runs
from sentiment_hf.sweeps.sweep import Setting, read_sweep
from sentiment_hf.sweeps.table import markdown, results_csv, summarize
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import held_alone

ROOT = Path(__file__).parents[2]
BASE = """
task: reviews
model: scratch
config_overrides: {hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, vocab_size: 400}
num_hidden_layers: 1
max_length: 32
max_train_rows: 64
seed: 7
num_train_epochs: 1
precision: fp32
"""
GRID = "grid: {truncation: [right, left], max_length: [16, 32]}\n"
SEEDS = "seeds: [42, 43]\n"


def ended_job(status):
    return SimpleNamespace(poll=lambda: status, stop=lambda: None, join=lambda: None)


@pytest.fixture
def plan(tmp_path, train_file):
    """Plan the runs of a sweep file with this text, on the tiny reviews."""

    def plan(text, *overrides, base=BASE, folder="sweep"):
        (tmp_path / "plain.yaml").write_text(base, encoding="utf-8")
        path = tmp_path / "compare.yaml"
        path.write_text(text if text.startswith("base:") else f"base: plain.yaml\n{text}", encoding="utf-8")
        return plan_runs(read_sweep(path), tmp_path / folder, [f"--train_file={train_file}", *overrides])

    return plan


def test_settings_are_list_times_grid_and_each_has_every_seed(plan, tmp_path):
    runs = plan(GRID + "list: {plain: {}, focal: {focal_gamma: 2.0}}\n" + SEEDS)
    assert [(run.setting.name, run.seed) for run in runs[:4]] == [
        ("plain truncation=right max_length=16", 42),
        ("plain truncation=right max_length=16", 43),
        ("plain truncation=right max_length=32", 42),
        ("plain truncation=right max_length=32", 43),
    ]
    assert len(runs) == 16
    assert runs[-1].swept == {"truncation": "left", "max_length": 32, "focal_gamma": 2.0}
    assert runs[0].swept["focal_gamma"] == 0.0, "what a setting leaves out has its default"
    assert "seed" not in runs[0].recipe, "the base's seed gives way to the sweep's"
    assert runs[0].folder.parent == runs[1].folder.parent != runs[2].folder.parent
    assert len({run.folder for run in runs}) == 16
    assert not (tmp_path / "sweep").exists()


def test_a_mapping_replaces_the_whole_value_and_null_the_default(plan):
    runs = plan("grid: {config_overrides: [{vocab_size: 300}], max_length: [null, 16]}\nseeds: [1]\n")
    assert runs[0].recipe["config_overrides"] == {"vocab_size": 300}
    assert "max_length" not in runs[0].recipe
    assert runs[0].setting.name == 'config_overrides={"vocab_size": 300} max_length=default'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grids: {}\n" + SEEDS, "unknown key 'grids'. The nearest known key is 'grid'"),
        (SEEDS, "a grid or a list in .*, found neither"),
        ("grid: {}\n" + SEEDS, "axes in the grid of .*, found none"),
        ("list: {}\n" + SEEDS, "named settings in the list of .*, found none"),
        ("grid: {max_length: 16}\n" + SEEDS, "a list of values for 'max_length' in .*, found 16"),
        ("grid: {max_length: []}\n" + SEEDS, "a list of values for 'max_length' in .*, found none"),
        ("grid: {max_length: [16, 16]}\n" + SEEDS, "different values for 'max_length'"),
        ("grid: {max_lenght: [16]}\n" + SEEDS, "unknown key 'max_lenght'. The nearest known key is 'max_length'"),
        ("list: {a: {focal_gama: 2}}\n" + SEEDS, "unknown key 'focal_gama'. The nearest known key is 'focal_gamma'"),
        ("list: {a: 2}\n" + SEEDS, "recipe keys for 'a' in .*, found 2"),
        ("list: {a: {max_length: 8}}\n" + GRID + SEEDS, "found 'max_length' in grid and in 'a'"),
        ("grid: {seed: [1, 2]}\n" + SEEDS, "found 'seed', which a sweep sets itself"),
        (GRID, "different seeds in .*, found none"),
        (GRID + "seeds: [1, 1]\n", r"different seeds in .*, found \[1, 1\]"),
        (GRID + "seeds: [true]\n", "different seeds"),
        ("list: {a: {}, b: {max_length: 32}}\n" + SEEDS, "found the same run as 'a' and as 'b'"),
        # They change nothing in training, so these are one run.
        ("grid: {quantize: [none, dynamic]}\n" + SEEDS, "found the same run as 'quantize=none'"),
        ("grid: {max_length: [16, many]}\n" + SEEDS, "in setting 'max_length=many', found .*invalid int"),
        ("grid: {truncation: [left, both]}\n" + SEEDS, "in setting 'truncation=both'"),
        ("grid: {train_file: [nowhere.csv]}\n" + SEEDS, "the sweep does not vary, on the command line, found --train"),
        ("grid: {test_file: [nowhere.csv]}\n" + SEEDS, "a data file at nowhere.csv in setting 'test_file=nowhere.csv'"),
    ],
)
def test_bad_sweeps_are_refused(plan, text, message):
    with pytest.raises(InputError, match=message):
        plan(text)


def test_bad_bases_and_command_lines_are_refused(plan, tmp_path):
    for word, message in (
        ("--max_length=8", "found --max_length"),
        ("--seed=1", "Seeds are set in the sweep file"),
        ("--overwrite_output_dir", "A sweep resumes by itself"),
        ("--focal_gama=1", "The nearest known key is 'focal_gamma'"),
    ):
        with pytest.raises(InputError, match=message):
            plan(GRID + SEEDS, word)
    with pytest.raises(InputError, match="unknown key 'max_lenght'"):
        plan(GRID + SEEDS, base="max_lenght: 3\n")
    with pytest.raises(InputError, match="a recipe at .*elsewhere.yaml"):
        plan("base: elsewhere.yaml\n" + GRID + SEEDS)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("")
    with pytest.raises(InputError, match="a folder for the sweep at .*, found a run"):
        plan(GRID + SEEDS, folder="run")


def test_a_fingerprint_is_of_what_a_run_depends_on(plan, train_file, tmp_path):
    def fingerprint(*overrides, text="grid: {max_length: [16]}\nseeds: [1]\n", **options):
        (run,) = plan(text, *overrides, **options)
        return run.fingerprint

    first = fingerprint()
    assert first == fingerprint(text="grid: {max_length: [16]}\nseeds: [2]\n")
    assert first == fingerprint("--baseline=false", "--report_to=none", folder="elsewhere")
    assert first == fingerprint("--data_dir", str(train_file.parent), f"--train_file={train_file.name}")
    # transformers' own fields are no less a part of it.
    different = {first, fingerprint("--learning_rate=1e-3"), fingerprint("--adam_beta2=0.9")}
    assert len(different) == 3
    train_file.write_text(train_file.read_text(encoding="utf-8").replace("房间", "房屋"), encoding="utf-8")
    assert fingerprint() not in different
    more = tmp_path / "more.csv"
    more.write_text("text,label\n多一条,positive\n", encoding="utf-8")
    supplement = f"--supplement={{source: {more}, limit: 1}}"
    first = fingerprint(supplement)
    more.write_text("text,label\n另一条,positive\n", encoding="utf-8")
    assert fingerprint(supplement) != first


def test_the_baseline_is_of_rows_and_not_of_how_a_model_reads_them(plan):
    def rows(settings):
        (run,) = plan(f"list: {{a: {settings}}}\nseeds: [1]\n")
        return run.data

    first = rows("{max_length: 16, truncation: sliding}")
    for settings in ("stride: 4", "max_chunks: 2", "chunk_choice: spread", "aggregation: max", "max_train_rows: 5"):
        assert rows(f"{{max_length: 16, truncation: sliding, {settings}}}") == first, settings
    assert rows("{max_length: 16, truncation: right, head_share: 0.3}") == first
    for settings in ("cleaning: {urls: false}", "split_seed: 1", "protocol: published"):
        assert rows(f"{{max_length: 16, truncation: sliding, {settings}}}") != first, settings


def test_a_renamed_setting_keeps_its_runs(plan):
    (before,) = plan("list: {a: {max_length: 16}}\nseeds: [1]\n")
    before.folder.mkdir(parents=True)
    (after,) = plan("list: {b: {max_length: 16}}\nseeds: [1]\n")
    assert after.folder == before.folder


SWEEPS = sorted([*ROOT.glob("recipes/*/compare_*.yaml"), *ROOT.glob("recipes/ablations/*.yaml")])


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_sweep_expands_and_parses(tmp_path, path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert text.splitlines()[0].endswith("?")
    order = ["base", "list", "grid", "search", "seeds"]
    assert list(yaml.safe_load(text)) == sorted(yaml.safe_load(text), key=order.index)
    sweep = read_sweep(path)
    if sweep.search is not None:
        space = sweep.search.space
        ends = [
            {
                key: values[end] if isinstance(values, list) else (values.low, values.high)[end]
                for key, values in space.items()
            }
            for end in (0, -1)
        ]
        sweep = replace(sweep, settings=[Setting(None, end, end) for end in ends], seeds=[42, 43, 44])
    for setting in sweep.settings:
        keys = sweep.base | setting.keys
        # The run itself refuses R-Drop whose two forwards would be the same.
        dropout = (keys.get("config_overrides") or {}).get("hidden_dropout_prob", 0.1)
        assert keys.get("rdrop_alpha", 0) == 0 or dropout > 0
    # Files that a recipe expects under --data_dir are looked for, not read.
    for key in ("train_file", "validation_file", "test_file"):
        if key in sweep.base:
            (tmp_path / sweep.base[key]).touch()
    runs = plan_runs(sweep, tmp_path / "sweep", [f"--data_dir={tmp_path}"])
    assert len(runs) == len(sweep.settings) * 3
    assert [run.seed for run in runs[:3]] == [42, 43, 44]


def test_settings_take_turns(plan):
    runs = plan("grid: {truncation: [right, left]}\n" + SEEDS)
    turns = ablation._in_turns(runs, 3)
    assert [(place, run.setting.name, run.seed) for place, run in turns] == [
        (3, "truncation=right", 42),
        (5, "truncation=left", 42),
        (4, "truncation=right", 43),
        (6, "truncation=left", 43),
    ]


def test_the_best_is_chosen_by_validation_alone(plan):
    runs = plan("grid: {truncation: [right, left, head_tail]}\nseeds: [42, 43, 44]\n")
    validation, test = (0.7, 0.8, 0.75, 0.9, 0.8, 0.85, 0.6, 0.6, 0.6), (0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.9, 0.9, 0.9)
    outcomes = []
    for run, on_validation, on_test in zip(runs, validation, test, strict=True):
        # Accuracy says the contrary of both.
        on_both = {"accuracy": 1 - on_test, "macro_f1": on_test}
        fp32 = on_both | {"validation": {"accuracy": 0.95 - on_validation, "macro_f1": on_validation}}
        metrics = {"split": "test", "protocol": "clean", "fp32": fp32}
        outcomes.append(Outcome(run, "finished", "", metrics, 10.0 * (run.seed - 41) ** 2))
    outcomes[0].metrics["baseline"] = {
        "accuracy": 1.0,
        "macro_f1": 1.0,
        "validation": {"accuracy": 1.0, "macro_f1": 1.0},
    }
    outcomes[8] = Outcome(runs[8], "failed", "out | of memory")
    text = markdown(summarize(outcomes))
    assert "| TF-IDF + linear SVM (baseline) | – | 100.00 | 100.00 | 100.00 | 100.00 | – |" in text
    assert "| left | 3 | 10.00 ± 5.00 | **85.00 ± 5.00** | 50.00 ± 0.00 | 50.00 ± 0.00 | 40 |" in text
    assert "| right | 3 | 20.00 ± 5.00 | 75.00 ± 5.00 | 10.00 ± 0.00 | 90.00 ± 0.00 | 40 |" in text
    assert "| head_tail | 2 of 3 | 35.00 ± 0.00 |" in text
    assert text.count("**") == 2
    assert "Settings are chosen on validation alone" in text
    assert "8 of 9 runs are finished." in text
    assert "Failed: truncation=head_tail, seed 44: out \\| of memory" in text
    rows = list(csv.DictReader(results_csv(outcomes).splitlines()))
    assert (rows[3]["validation_macro_f1"], rows[3]["macro_f1"]) == ("0.9", "0.5")
    assert (rows[8]["status"], rows[8]["reason"], rows[8]["macro_f1"]) == ("failed", "out | of memory", "")


def test_a_sweep_from_end_to_end(tmp_path, train_file, monkeypatch, capsys):
    """Two settings with two seeds, and one that fails once it has begun."""
    (tmp_path / "plain.yaml").write_text(BASE, encoding="utf-8")
    sweep = tmp_path / "compare.yaml"
    text = f"base: plain.yaml\nlist: {{plain: {{}}, smoothing: {{label_smoothing_factor: 0.1}}}}\n{SEEDS}"
    broken = text.replace("{plain", "{broken: {label_column: nonsense}, plain")
    sweep.write_text(broken, encoding="utf-8")
    folder = tmp_path / "sweep"
    words = ["sweep", "run", f"--config={sweep}", "--output_dir", str(folder), "--train_file", str(train_file)]
    assert main([*words, "--dry_run"]) == 0
    assert capsys.readouterr().out.count(": to be run") == 6
    assert main([*words, "--dry_run", "--only", "plain"]) == 0
    assert capsys.readouterr().out.count(": to be run") == 2
    assert main([*words, "--jobs", "0"]) == 2
    assert "jobs of at least 1, found 0" in capsys.readouterr().err
    assert main([*words, "--only", "nothing"]) == 2
    assert "--only among broken, plain, smoothing, found 'nothing'" in capsys.readouterr().err
    assert not folder.exists()

    assert main([*words, "--only", "plain"]) == 0
    table = (folder / "table.md").read_text(encoding="utf-8")
    assert "| plain | 2 |" in table
    assert "| smoothing | 0 of 2 |" in table
    assert main([*words, "--jobs", "2"]) == 1
    assert "smoothing" in capsys.readouterr().out
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["failed"] * 2 + ["finished"] * 4
    assert rows[0]["reason"].startswith("Expected a label column 'nonsense'")
    for row in rows[2:]:
        run = Path(row["folder"])
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        assert float(row["macro_f1"]) == metrics["fp32"]["macro_f1"]
        assert float(row["validation_accuracy"]) == metrics["fp32"]["validation"]["accuracy"]
        assert float(row["training_seconds"]) > 0
        assert yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))["seed"] == int(row["seed"])
        # The baseline is fitted once, and neither weights nor checkpoints stay.
        assert ("baseline" in metrics) == (row is rows[2])
        assert not [*run.glob("checkpoint-*"), *run.glob("*.safetensors")]
    assert len({row["fingerprint"] for row in rows}) == 3
    table = (folder / "table.md").read_text(encoding="utf-8")
    assert re.search(r"\| TF-IDF .*\n\| broken \| 0 of 2 \| – .*\n\| plain \| 2 \| .* ± .*\n\| smoothing \| 2 ", table)
    assert "4 of 6 runs are finished." in table

    # A second call tries what failed and repeats nothing.
    started = []

    def start(run, baseline, variables):
        started.append(run.setting.name)
        return ended_job(1)

    monkeypatch.setattr(ablation, "Job", start)
    assert main(words) == 1
    assert started == ["broken", "broken"]
    sweep.write_text(text, encoding="utf-8")
    assert main(words) == 0
    assert len(started) == 2


def test_two_runs_at_a_time(plan, tmp_path, monkeypatch):
    """Each on a seat of its own, one baseline between them, and a seat that is free is taken at once."""
    runs = plan("grid: {truncation: [right, left, head_tail]}\n" + SEEDS)
    started, left = [], {"right": 1, "left": 3, "head_tail": 1}

    class Timed:
        def __init__(self, run, baseline, variables):
            started.append((run.setting.axes["truncation"], run.seed, baseline, variables))
            self.looks = left[run.setting.axes["truncation"]]
            run.folder.mkdir(parents=True)
            run.log.write_text("error: no luck\n", encoding="utf-8")

        def poll(self):
            self.looks -= 1
            return None if self.looks > 0 else 1

        def stop(self):
            raise AssertionError("nothing is interrupted here")

    monkeypatch.setattr(ablation, "Job", Timed)
    monkeypatch.setattr(ablation, "Seats", lambda count: Seats(count, ("0", "1")))
    monkeypatch.setattr(ablation, "_LOOK", 0)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    outcomes = ablation.run_sweep("compare", runs, tmp_path / "sweep", keep_models=False, jobs=2)
    assert [outcome.reason for outcome in outcomes] == ["no luck"] * 6
    first, second = ({"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": gpu} for gpu in "01")
    assert started[:3] == [("right", 42, True, first), ("left", 42, False, second), ("head_tail", 42, True, first)]
    assert len(started) == 6


def test_an_interrupt_stops_all_that_is_at_work(plan, tmp_path, monkeypatch):
    runs = plan("grid: {truncation: [right, left, head_tail]}\n" + SEEDS)
    done = []

    class Interrupted:
        def __init__(self, run, baseline, variables):
            self.name = run.setting.axes["truncation"]

        def poll(self):
            if self.name == "left":
                raise KeyboardInterrupt

        def stop(self):
            done.append(f"stop {self.name}")

        def join(self):
            done.append(f"join {self.name}")

    monkeypatch.setattr(ablation, "Job", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        ablation.run_sweep("compare", runs, tmp_path / "sweep", keep_models=False, jobs=2)
    assert done == ["stop right", "stop left", "join right", "join left"]


def test_the_machine_is_shared_out(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert Seats(1, ("0", "1")).environment(0) == {}
    assert Seats(2, ()).environment(1) == Seats(2, ("5",)).environment(1) == {"OMP_NUM_THREADS": "1"}
    assert [Seats(8, ("2", "GPU-a")).environment(seat)["CUDA_VISIBLE_DEVICES"] for seat in range(3)] == [
        "2",
        "GPU-a",
        "2",
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-a")
    assert visible_gpus() == ("2", "GPU-a")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == ()


def test_two_sweeps_do_not_share_a_folder(tmp_path, train_file, monkeypatch, capsys):
    """They would train the same runs in the same folders at the same time."""
    (tmp_path / "plain.yaml").write_text(BASE, encoding="utf-8")
    (tmp_path / "compare.yaml").write_text("base: plain.yaml\nlist: {plain: {}}\nseeds: [42]\n", encoding="utf-8")
    monkeypatch.setattr(ablation, "Job", lambda run, baseline, variables: ended_job(1))
    folder = tmp_path / "sweep"
    words = [
        "sweep",
        "run",
        f"--config={tmp_path / 'compare.yaml'}",
        f"--output_dir={folder}",
        f"--train_file={train_file}",
    ]
    with held_alone(folder) as alone:
        assert alone
        assert main(words) == 2
        assert f"one sweep at a time in {folder}, found another that is running" in capsys.readouterr().err
        assert not (folder / "table.md").exists()
    # Now it begins, and its only run fails.
    monkeypatch.setattr(ablation, "_reason", lambda log, status: "no reason")
    assert main(words) == 1
    assert (folder / "table.md").exists()


def is_whole(checkpoint):
    try:
        return bool(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path, train_file):
    (tmp_path / "plain.yaml").write_text(BASE, encoding="utf-8")
    sweep = tmp_path / "compare.yaml"
    sweep.write_text("base: plain.yaml\nlist: {plain: {}}\nseeds: [42]\n", encoding="utf-8")
    folder = tmp_path / "sweep"
    # Twelve epochs of 16 steps: time enough to press Ctrl-C after the first checkpoint, on a busy machine too.
    words = [
        "sweep",
        "run",
        f"--config={sweep}",
        f"--output_dir={folder}",
        f"--train_file={train_file}",
        "--keep_models",
    ]
    words += ["--num_train_epochs=12", "--per_device_train_batch_size=4", "--logging_steps=4"]
    # A shell starts what goes on in the background deaf to Ctrl-C, and its children inherit that.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen([sys.executable, "-m", "sentiment_hf", *words], stderr=subprocess.DEVNULL)
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 120
    # A checkpoint that is there to its last byte: half a one is not gone on with.
    while not any(map(is_whole, folder.glob("runs/*/42/checkpoint-*"))) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    (run,) = folder.glob("runs/*/42")
    checkpoints = sorted(run.glob("checkpoint-*"))
    time.sleep(0.5)
    assert sorted(run.glob("checkpoint-*")) == checkpoints, "the child trains on"
    assert not (run / "metrics.json").exists()
    log = (run / "train.log").read_text(encoding="utf-8")
    assert "step 16: " in log
    assert "| plain | 0 of 1 | – |" in (folder / "table.md").read_text(encoding="utf-8")

    assert main(words) == 0
    # A run that starts anew empties its folder, with the log of the first attempt.
    assert (run / "train.log").read_text(encoding="utf-8").startswith(log)
    assert (run / "model.safetensors").is_file()
    assert not list(run.glob("checkpoint-*"))
    # The seconds are those of the second half alone, and are not passed off as the whole.
    (row,) = csv.DictReader((folder / "results.csv").read_text(encoding="utf-8").splitlines())
    assert (row["status"], row["training_seconds"]) == ("finished", "")
