"""recipes/gpu/measure.py on a GPU: all that it measures is there and is what is promised; five minutes on an idle card.

Somebody who has just measured names the folder, `GPU_RESULTS=runs/gpu`, and nothing is measured again."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
MEASURE = ROOT / "recipes/gpu/measure.py"
KINDS = (
    *("reviews", "reviews, R-Drop", "emotion, balanced weights", "emotion, focal loss"),
    *("topics, windows", "topics, hierarchical", "aspects", "distillation"),
)
pytestmark = [pytest.mark.gpu, pytest.mark.shared]


@pytest.fixture(scope="module")
def parts(shared, tmp_path_factory):
    """What was measured: part -> row -> figures."""
    if "GPU_RESULTS" in os.environ:
        return measured(Path(os.environ["GPU_RESULTS"]))
    folder = tmp_path_factory.mktemp("gpu")

    def start(name, *words):
        command = [sys.executable, str(MEASURE), "--data_dir", str(shared / "data")]
        return subprocess.Popen([*command, "--output_dir", str(folder / name), *words], cwd=ROOT)

    # What is not timed runs together.
    together = [
        start("training", "--parts", "training", "--seeds", "42"),
        start("alone", "--parts", "processes", "resume"),
    ]
    assert [process.wait() for process in together] == [0, 0]
    model = folder / "alone/runs/alone"
    assert start("timed", "--parts", "latency", "throughput", "memory", "--model", str(model)).wait() == 0
    names = {"training": ["training"], "alone": ["processes", "resume"], "timed": ["latency", "throughput", "memory"]}
    return {name: measured(folder / where)[name] for where, parts in names.items() for name in parts}


def measured(folder):
    found = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))
    assert found["machine"]["card"] == torch.cuda.get_device_name()
    return found["parts"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_recipe_learns_in_half_precision(parts, kind, precision):
    row = parts["training"][f"{kind}, {precision}"]
    assert row["last loss"] < row["first loss"]
    if kind == "distillation":
        return
    assert row["peak MB"] > 0
    # Seeds lie apart by chance; what half precision changes has to be less than twice that.
    published = json.loads((ROOT / "docs/results/gpu.json").read_text(encoding="utf-8"))["parts"]["training"]
    seeds = published[f"{kind}, bf16"]["scores"]
    on_cpu = json.loads((ROOT / "docs/results/gpu-on-cpu.json").read_text(encoding="utf-8")).get(kind, seeds)
    expected, spread = statistics.mean(on_cpu), max(statistics.stdev(seeds), 0.5)
    assert statistics.mean(row["scores"]) == pytest.approx(expected, abs=2 * spread)


@pytest.mark.parametrize("recipe", ["reviews/gpu_4gb.yaml", "aspects/gpu_4gb.yaml"])
def test_the_small_recipes_stay_under_four_gigabytes(parts, recipe):
    row = parts["memory"][recipe]
    assert 0 < row["allocated MB"] <= row["reserved MB"] < row["with CUDA's own MB"] < 4000


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_resumed_run_is_the_whole_one_bit_for_bit(parts, precision):
    row = parts["resume"][f"resumed, {precision}"]
    assert row["went on from"].startswith("checkpoint-")
    assert row["furthest weight"] == 0


@pytest.mark.parametrize(("way", "kind"), [("DDP", "MULTI_GPU"), ("FSDP", "FSDP")])
def test_one_process_of_several_trains_what_one_alone_does(parts, way, kind):
    row = parts["processes"][way]
    assert (row["distributed_type"], row["processes"]) == (kind, 1)
    assert row["macro-F1"] == pytest.approx(row["alone"], abs=1)
    # AdamW moves a weight by at most the learning rate a step, here 1e-4; what the order of sums changes is less.
    assert row["furthest weight"] < 1e-3


def test_half_precision_gives_the_labels_of_the_cpu(parts):
    for row in parts["throughput"].values():
        same, of = map(int, row["labels as on the CPU"].split(" of "))
        assert same >= 0.99 * of
        assert row["furthest logit"] < 0.05


def test_what_was_timed_is_there(parts):
    for row in parts["latency"].values():
        for tokens in (16, 32, 64, 128):
            median, late = map(float, row[f"{tokens} tokens"].split(" / "))
            assert 0 < median <= late
