import json

import pytest
import yaml
from rich.console import Console

from sentiment_hf.cli.main import main
from sentiment_hf.evaluation.report import group_by_recipe, seeds_table, spread


def run_of(name, seed, accuracy, **recipe):
    recipe = {"seed": seed, "output_dir": f"runs/{name}", "learning_rate": 1e-4, **recipe}
    scores, validation = ({"accuracy": share, "macro_f1": share**2} for share in (accuracy, accuracy / 2))
    metrics = {"name": name, "protocol": "clean", "split": "test", "fp32": scores | {"validation": validation}}
    return recipe, metrics


def test_mean_and_sample_deviation():
    assert spread([0.89, 0.90, 0.91]) == "90.00 ± 1.00"
    assert spread([0.905]) == "90.50"


def test_runs_that_differ_in_the_seed_alone_are_one_line():
    runs = [run_of("a-42", 42, 0.8), run_of("b", 42, 0.7, learning_rate=1.0), run_of("a-43", 43, 0.9)]
    assert [[metrics["name"] for _, metrics in group] for group in group_by_recipe(runs)] == [["a-42", "a-43"], ["b"]]
    console = Console(record=True, width=200)
    console.print(seeds_table(runs))
    text = console.export_text()
    (line,) = (line for line in text.splitlines() if "│ a " in line)
    assert "42, 43" in line
    # Validation and the held-out rows, accuracy and then macro-F1.
    shown = [cell.strip() for cell in line.split("│")[-5:-1]]
    assert shown == ["42.50 ± 3.54", "85.00 ± 7.07", "18.13 ± 3.01", "72.50 ± 12.02"]
    assert "70.00 " in text


def test_the_verb_reads_runs(tmp_path, capsys):
    for seed, accuracy in ((42, 0.8), (43, 0.9)):
        recipe, metrics = run_of(f"a-{seed}", seed, accuracy)
        folder = tmp_path / f"a-{seed}"
        folder.mkdir()
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    runs = [str(tmp_path / "a-42"), str(tmp_path / "a-43")]
    assert main(["evaluate", "--over_seeds", "--runs", *runs]) == 0
    assert "85.00 ± 7.07" in capsys.readouterr().out
    (tmp_path / "a-43" / "recipe.yaml").unlink()
    assert main(["evaluate", "--over_seeds", "--runs", *runs]) == 2
    assert "a run of a recipe at" in capsys.readouterr().err


@pytest.mark.parametrize("names", [["x"], ["x-42", "x-43"], ["1", "2"]])
def test_a_group_has_a_name(names):
    runs = [run_of(name, seed, 0.5) for seed, name in enumerate(names)]
    console = Console(record=True, width=200)
    console.print(seeds_table(runs))
    assert f"│ {names[0][:1]} " in console.export_text()
