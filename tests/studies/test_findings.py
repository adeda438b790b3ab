"""What sweeps found: effects that are there and effects that are not, and which runs are refused or left out."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from sentiment_hf.cli.main import main
from sentiment_hf.evaluation.plots import plain, table, to_html
from sentiment_hf.evaluation.report import headline, spread, write_metrics, write_predictions
from sentiment_hf.sweeps.effects import Effect, axis_values, mean_held_out, setting_effects
from sentiment_hf.sweeps.findings import analyze_runs, find_grid, sentences
from sentiment_hf.sweeps.findings_page import write_findings
from sentiment_hf.sweeps.load_runs import find_runs, group
from sentiment_hf.tasks import BUILT_IN_TASKS, AspectTask, aspect_columns
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json, write_json, write_text

TASK = BUILT_IN_TASKS["reviews"]
ROWS = 400
# Share of rows that are right, by max_length and loss: length helps, the loss does not.
RIGHT = {(128, "plain"): 0.80, (128, "focal"): 0.80, (256, "plain"): 0.88, (256, "focal"): 0.88}
# The validation split likes what the held-out rows like least.
VALIDATION = {(128, "plain"): 0.71, (128, "focal"): 0.73, (256, "plain"): 0.75, (256, "focal"): 0.77}


def write_run(folder, recipe, seed, share, rows=ROWS, predictions=True):
    """A run's folder as training leaves it, its predictions right in `share` of the rows."""
    length, loss = recipe.get("max_length", 0), recipe.get("loss", "")
    generator = np.random.default_rng([seed, length, len(loss), ord(loss[:1] or "-")])
    # One in four is positive, so that accuracy says something else than macro-F1.
    labels = (np.arange(rows) % 4 == 0).astype(int)
    # Half of what is wrong is wrong in every run, as it is with real rows.
    hard = np.random.default_rng(0).permutation(rows) < rows * (1 - share) / 2
    wrong = hard | (generator.random(rows) < (1 - share) / 2)
    predicted = np.where(wrong, 1 - labels, labels)
    logits = np.eye(2)[predicted] * generator.uniform(0.5, 3, rows)[:, None]
    scores = TASK.scores(logits, labels)
    on_validation = VALIDATION.get((length, loss), 0.6) + seed / 10_000
    validation = {"accuracy": on_validation + 0.1, "macro_f1": on_validation, "pr_auc": on_validation / 2}
    model = headline(scores) | {"size_mb": 1.0, "ms_per_review": 0.5} | scores | {"validation": validation}
    texts = [f"第{row}条<b>|" + "好" * (row % 50) for row in range(rows)]
    held_out = pd.DataFrame({"text": texts, "label": [TASK.labels[label] for label in labels]})
    write_text(folder / "splits" / "test.jsonl", held_out.to_json(orient="records", lines=True, force_ascii=False))
    write_text(
        folder / "recipe.yaml", yaml.safe_dump({**recipe, "seed": seed, "output_dir": str(folder)}, sort_keys=False)
    )
    history = [{"step": 5, "loss": 0.6}, {"step": 10, "eval_loss": 0.5}]
    record = {"seed": seed, "training_seconds": 12.5, "environment": {"torch": "2", "hardware": {"cpu": "x"}}}
    write_json(folder / "run.json", record | {"history": history, "peak_memory_mb": {"cpu": 512.0}})
    if predictions:
        write_predictions(folder, logits, labels)
    metrics = {"name": folder.name, "task": "reviews", "protocol": "clean", "split": "test"}
    write_metrics(folder, metrics | {"rows": {"train": 10, "validation": 5, "test": rows}, "fp32": model})


def test_runs_that_differ_in_much_are_called_by_their_own_names(tmp_path):
    for name, keys in (("long", {f"option_{number}": "x" * 10 for number in range(9)}), ("plain", {"task": "reviews"})):
        for seed in (42, 43):
            write_run(tmp_path / f"{name}-{seed}", keys | {"train_file": f"{name}.csv"}, seed, 0.8)
    runs, _ = find_runs(sorted(tmp_path.iterdir()))
    settings = group(runs)
    assert [setting.name for setting in settings] == ["long", "plain"]
    assert "train_file" not in settings[0].axes, "where data lie says nothing"


def test_runs_of_aspects_are_shown_and_not_tested(tmp_path):
    task = AspectTask(aspect_columns(["taste", "noise"]))
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=(60, 2))
    for length in (128, 256):
        folder = tmp_path / "runs" / str(length)
        write_run(folder, {"max_length": length}, 42, 0.8, rows=60)
        logits = np.eye(4)[labels].reshape(60, -1) + generator.normal(size=(60, 8))
        write_predictions(folder, logits, labels)
        scores = task.scores(logits, list(labels))
        metrics = read_json(folder / "metrics.json")
        cost = {"size_mb": 1.0, "ms_per_review": 0.5}
        write_metrics(folder, metrics | {"task": "aspects", "fp32": scores | cost | {"validation": headline(scores)}})
    write_findings(analyze_runs("x", *read(tmp_path / "runs")), tmp_path / "f.md", examples=3)
    page = (tmp_path / "f.md").read_text(encoding="utf-8")
    assert "| aspect | F1 |" in page
    assert "not tested" in page
    assert "taste" in page
    assert "The surest mistakes" not in page


@pytest.fixture
def sweep(tmp_path):
    for (length, loss), share in RIGHT.items():
        for seed in (42, 43, 44):
            recipe = {"task": "reviews", "max_length": length, "loss": loss, "baseline": seed == 42}
            write_run(tmp_path / "runs" / f"{length}-{loss}" / str(seed), recipe, seed, share)
    return tmp_path / "runs"


def read(folder):
    runs, skipped = find_runs([folder])
    return group(runs), skipped


def test_what_helps_is_told_from_what_does_not(sweep):
    settings, skipped = read(sweep)
    assert skipped == []
    assert [setting.seeds for setting in settings] == [[42, 43, 44]] * 4
    baseline = next(setting for setting in settings if setting.axes == {"max_length": 128, "loss": "plain"})
    found = analyze_runs("x", settings, [], baseline.name)
    effects = found.effects
    longer, focal = effects["max_length=256 loss=plain"], effects["max_length=128 loss=focal"]
    assert (longer.verdict, focal.verdict) == ("better", "not significant")
    assert longer.pairs == 3
    assert 0 < longer.low < longer.difference < longer.high
    assert focal.low <= 0 <= focal.high
    # Holm: the smallest of three is held to a third of the level, and of two to a half.
    assert longer.adjusted == pytest.approx(3 * longer.p_value)
    values = {(value.key, value.value): value for value in found.axes}
    assert values["max_length", "256"].is_best
    assert values["max_length", "256"].effect.pairs == 6, "with both losses under three seeds"
    assert values["max_length", "256"].effect.verdict == "better"
    assert values["max_length", "256"].effect.adjusted == pytest.approx(2 * values["max_length", "256"].effect.p_value)
    assert values["max_length", "256"].validation == pytest.approx((0.77 + 0.75) / 2 + 0.0043)
    assert values["loss", "focal"].effect.verdict == "not significant"
    assert values["max_length", "128"].effect is None
    assert values["max_length", "128"].settings == 2
    # The validation split chooses, also where the held-out rows would choose another one.
    assert found.best.axes == {"max_length": 256, "loss": "focal"}
    assert [setting.axes["loss"] for setting in sorted(settings, key=mean_held_out)[-2:]] == ["focal", "plain"]
    held_out = spread([run.model_scores["macro_f1"] for run in found.best.runs])
    assert f"77.43 ± 0.01 (held out {held_out})" in sentences(found)[0]


def test_an_effect_is_called_by_its_adjusted_p_value():
    assert Effect("x", 0.01, 0.001, 0.02, p_value=0.03, pairs=3, adjusted=0.06).verdict == "not significant"
    assert Effect("x", -0.01, -0.02, -0.001, p_value=0.01, pairs=3, adjusted=0.03).verdict == "worse"


def test_an_interval_knows_that_seeds_differ(tmp_path):
    """Two seeds of which one gains much and the other loses: over rows alone the mean would look sure."""
    for seed, shares in ((42, (0.75, 0.95)), (43, (0.9, 0.85))):
        for length, share in zip((128, 256), shares, strict=True):
            write_run(tmp_path / "runs" / str(length) / str(seed), {"max_length": length}, seed, share)
    settings, _ = read(tmp_path / "runs")
    effect = setting_effects(settings, settings[0])["max_length=256"]
    gains = [
        after.model_scores["macro_f1"] - before.model_scores["macro_f1"]
        for before, after in zip(settings[0].runs, settings[1].runs, strict=True)
    ]
    assert effect.difference == pytest.approx(sum(gains) / 2)
    assert effect.low < min(gains) < 0 < max(gains) < effect.high


def test_the_best_is_chosen_by_validation_and_told_by_test(tmp_path):
    """Validation prefers the one setting, test the other."""
    for length, on_validation, share in ((128, 0.9, 0.7), (256, 0.8, 0.95)):
        for seed in (42, 43):
            folder = tmp_path / "runs" / f"{length}" / str(seed)
            write_run(folder, {"max_length": length}, seed, share)
            metrics = read_json(folder / "metrics.json")
            metrics["fp32"]["validation"] |= {"macro_f1": on_validation, "accuracy": on_validation}
            write_metrics(folder, metrics)
    settings, _ = read(tmp_path / "runs")
    findings = analyze_runs("x", settings, [])
    assert findings.best.axes == findings.baseline.axes == {"max_length": 128}
    assert [(value.value, value.validation, value.is_best) for value in findings.axes] == [
        ("128", 0.9, True),
        ("256", 0.8, False),
    ]
    assert findings.axes[1].effect.verdict == findings.effects["max_length=256"].verdict == "better"
    write_findings(findings, tmp_path / "f.md", examples=0)
    page = (tmp_path / "f.md").read_text(encoding="utf-8")
    longer = next(line for line in page.splitlines() if line.startswith("| max_length=256 |"))
    assert longer.startswith(f"| max_length=256 | 42, 43 | 80.00 ± 0.00 | {spread(on_test(settings[1]))} |")


def on_test(setting):
    return [run.model_scores["macro_f1"] for run in setting.runs]


def test_a_key_that_only_came_along_with_another_is_named_and_not_judged(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the plots extra")
    for truncation, batch, length in (("right", 16, 128), ("right", 16, 256), ("sliding", 4, 256)):
        for seed in (42, 43):
            keys = {"truncation": truncation, "per_device_train_batch_size": batch, "max_length": length}
            write_run(tmp_path / "runs" / f"{truncation}-{length}" / str(seed), keys, seed, 0.8)
    settings, _ = read(tmp_path / "runs")
    assert {value.key for value in axis_values(settings, settings[0])} == {"max_length"}
    write_findings(analyze_runs("x", settings, []), tmp_path / "f.md", examples=0)
    page = (tmp_path / "f.md").read_text(encoding="utf-8")
    together = next(line for line in page.splitlines() if line.startswith("Changed along with other keys only"))
    assert "max_length" not in together
    assert "per_device_train_batch_size" in together
    assert "truncation" in together


def test_settings_that_cross_are_shown_as_a_grid(sweep, tmp_path):
    settings, _ = read(sweep)
    grid = find_grid(settings)
    # By name: runs without a sweep's table come in the order of their folders.
    assert (grid.key, sorted(grid.values)) == ("loss", ["focal", "plain"])
    assert grid.rows == ["max_length=128", "max_length=256"]
    for row, line in zip(grid.rows, grid.cells, strict=True):
        assert [setting.name for setting in line] == [f"{row} loss={value}" for value in grid.values]
    write_findings(analyze_runs("x", settings, []), tmp_path / "f.md", examples=0)
    page = (tmp_path / "f.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| max_length=256 |")]
    runs = grid.cells[1][0].runs
    validation = spread([run.model_scores["validation"]["macro_f1"] for run in runs])
    test = spread([run.model_scores["macro_f1"] for run in runs])
    assert len(rows) == 1
    assert rows[0].startswith(f"| max_length=256 | {validation} / {test} |")


def test_a_sweeps_own_names_name_the_rows_of_a_grid(sweep):
    settings, _ = read(sweep)
    for setting in settings:
        length, loss = setting.axes["max_length"], setting.axes["loss"]
        setting.name = f"{'long' if length == 256 else 'short'} loss={loss}"
    assert sorted(find_grid(settings).rows) == ["long", "short"]


def test_where_a_combination_was_not_tried_there_is_no_grid(sweep):
    settings, _ = read(sweep)
    assert find_grid(settings[1:]) is None
    assert find_grid(settings[:1]) is None
    alone = [setting for setting in settings if setting.axes["loss"] == "plain"]
    assert find_grid(alone) is None, "one key is no grid"


def test_the_report_stands_alone_and_shows_what_texts_it_is_told_to(sweep, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs the plots extra")
    output = tmp_path / "report" / "findings.md"
    # A run that was killed, one that is cut off in the middle of a file, and one that never began.
    half, cut = sweep / "128-plain" / "45", sweep / "256-plain" / "45"
    shutil.copytree(sweep / "128-plain" / "42", half)
    (half / "metrics.json").unlink()
    # It was stopped in the middle of a line.
    log = '{"step": 5, "loss": 0.7}\n{"step": 8, "eval_macro_f1": 0.625}\n{"step": 9, "lo'
    (half / "metrics.jsonl").write_text(log, encoding="utf-8")
    shutil.copytree(sweep / "256-plain" / "42", cut)
    (cut / "run.json").write_text('{"seed": ', encoding="utf-8")
    words = ["sweep", "report", str(sweep), "--output", str(output), "--baseline", "max_length=128 loss=plain"]
    assert main([*words, "--title", "Length & loss"]) == 0
    shown = capsys.readouterr().out
    assert "left out: 128-plain/45: no metrics.json; reached step 8, best macro-F1 on validation 62.50" in shown
    assert "left out: 256-plain/45: not readable" in shown
    page = output.read_text(encoding="utf-8")
    assert "12 runs of 4 settings" in page
    assert "nothing is claimed of them: max_length=128 loss=focal" in page
    assert re.search(r"- max_length=256 in place of max_length=128, all else equal: \+\d.*, better\.", page)
    assert "- No other value of loss differs from loss=plain significantly, all else equal." in page
    assert "| 256-plain/45 | not readable (JSONDecodeError) |" in page
    assert "<b>" not in page
    assert "第" in page
    assert str(tmp_path) not in page, "a report travels"
    pictures = sorted(file.name for file in output.parent.glob("*.png"))
    assert pictures == [f"findings-{kind}.png" for kind in ("confusion", "grid", "lengths", "losses", "scores")]
    assert all(f"({name})" in page for name in pictures)
    html = output.with_suffix(".html").read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == len(pictures)
    assert "findings-scores.png" not in html
    assert "<b>" not in html
    assert "Length &amp; loss" in html
    assert main([*words, "--examples", "0"]) == 0
    assert "第" not in output.read_text(encoding="utf-8")


def test_han_names_are_drawn_or_numbered_but_never_boxes(sweep, tmp_path, monkeypatch, caplog):
    pytest.importorskip("matplotlib", reason="needs the plots extra")
    settings, _ = read(sweep)
    for number, setting in enumerate(settings):
        setting.name = f"第{number}种设置" + "很长" * 40
    monkeypatch.setattr("sentiment_hf.evaluation.plots.han_font", lambda: None)
    write_findings(analyze_runs("x", settings, []), tmp_path / "f.md", examples=0)
    assert "no font with Han glyphs is installed" in caplog.text
    assert "0 = 第0种设置" in caplog.text
    assert len(list(tmp_path.glob("*.png"))) == 5


def test_settings_with_other_held_out_rows_are_shown_each_for_itself(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the plots extra")
    for protocol, rows in (("clean", 300), ("published", 400)):
        for seed in (42, 43):
            write_run(tmp_path / "runs" / protocol / str(seed), {"protocol": protocol}, seed, 0.8, rows=rows)
    settings, _ = read(tmp_path / "runs")
    found = analyze_runs("x", settings, [])
    assert found.effects == {}
    write_findings(found, tmp_path / "f.md", examples=0)
    assert (tmp_path / "f-lengths.png").is_file()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("predictions.npz", b""),
        ("predictions.npz", b"PK\x03\x04half"),
        ("run.json", b"null"),
        ("run.json", b'{"seed": 42}'),
        ("metrics.json", b"[]"),
        ("splits/test.jsonl", b'{"text": "a", "label": "positive"}\n{"text"'),
        ("splits/test.jsonl", b'{"text": "a", "label": "positive"}\n'),
    ],
)
def test_a_damaged_run_is_left_out_and_stops_no_other(sweep, name, content):
    damaged = sweep / "128-plain" / "43"
    (damaged / name).write_bytes(content)
    settings, skipped = read(sweep)
    assert [name for name, _ in skipped] == ["128-plain/43"]
    assert sum(len(setting.runs) for setting in settings) == 11


def test_seconds_of_a_resumed_run_are_not_those_of_training(sweep, tmp_path):
    for seed in (42, 43, 44):
        file = sweep / "128-plain" / str(seed) / "run.json"
        write_json(file, read_json(file) | {"training_seconds": 1.0, "resumed_from": "checkpoint-5"})
    write_findings(analyze_runs("x", *read(sweep)), tmp_path / "f.md", examples=0)
    page = (tmp_path / "f.md").read_text(encoding="utf-8")
    assert "| max_length=128 loss=plain | – |" in page
    assert "| max_length=256 loss=plain | 12 |" in page


def test_runs_that_kept_no_predictions_are_shown_and_not_tested(tmp_path):
    for length in (128, 256):
        write_run(tmp_path / "runs" / str(length), {"max_length": length}, 42, 0.8, predictions=length == 128)
    settings, _ = read(tmp_path / "runs")
    assert analyze_runs("x", settings, []).effects == {}


def test_what_cannot_be_reported_is_refused(sweep, tmp_path, capsys):
    write_run(tmp_path / "other" / "45", {"task": "reviews", "max_length": 128, "loss": "plain"}, 45, 0.8, rows=300)
    with pytest.raises(InputError, match="the same data in runs with the same fingerprint, found other rows in .*45"):
        group(find_runs([sweep, tmp_path / "other"])[0])
    # The same number of rows, other words in validation; and other training rows, which only a digest tells of.
    for change, folder in (("validation", "validation-changed"), ("digest", "train-changed")):
        write_run(tmp_path / folder / "45", {"task": "reviews", "max_length": 128, "loss": "plain"}, 45, 0.8)
        if change == "validation":
            write_text(tmp_path / folder / "45" / "splits" / "validation.jsonl", '{"text": "a", "label": "positive"}\n')
        for number, file in enumerate([*sweep.glob("128-plain/*/run.json"), tmp_path / folder / "45" / "run.json"]):
            write_json(file, read_json(file) | {"data": "a" if number < 3 or change == "validation" else "b"})
        with pytest.raises(InputError, match="the same data in runs with the same fingerprint, found other rows"):
            group(find_runs([sweep, tmp_path / folder])[0])
    shutil.copytree(sweep / "128-plain" / "42", tmp_path / "again")
    with pytest.raises(InputError, match="one run of a setting for each seed, found seed 42 in .* and "):
        group(find_runs([sweep, tmp_path / "again"])[0])
    (tmp_path / "empty").mkdir()
    for words, said in (
        ([str(tmp_path / "empty")], "at least one finished run, found none"),
        ([str(tmp_path / "nowhere")], "a folder of runs at .*, found nothing there"),
        ([str(sweep), "--baseline", "x"], "a baseline among max_length=128"),
        ([str(sweep), "--examples", "-1"], "examples of at least 0"),
    ):
        assert main(["sweep", "report", *words, "--output", str(tmp_path / "out" / "x.md")]) == 2
        assert re.search(said, capsys.readouterr().err)
    assert main(["sweep", "report", str(sweep), "--output", str(tmp_path / "x.txt")]) == 2
    assert not (tmp_path / "out").exists()


def test_a_real_sweep_is_read_with_its_names_and_its_failures(tmp_path, train_file, capsys):
    shape = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 400}
    base = {"task": "reviews", "model": "scratch", "config_overrides": shape, "num_hidden_layers": 1, "max_length": 32}
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(base | {"precision": "fp32", "num_train_epochs": 1}))
    sweep = {"base": "plain.yaml", "list": {"slow": {"adam_beta1": 0.8}, "fails": {"per_device_train_batch_size": 0}}}
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(sweep | {"seeds": [42]}))
    folder = tmp_path / "sweep"
    words = ["sweep", "run", "--config", str(tmp_path / "compare.yaml"), "--output_dir", str(folder)]
    assert main([*words, f"--train_file={train_file}", f"--cache_dir={tmp_path / 'cache'}"]) == 1
    capsys.readouterr()
    assert main(["sweep", "report", str(folder), "--output", str(tmp_path / "f.md")]) == 0
    assert "Best on validation: slow" in capsys.readouterr().out
    settings, skipped = read(folder)
    assert [(setting.name, setting.seeds) for setting in settings] == [("slow", [42])]
    assert settings[0].runs[0].recipe["adam_beta1"] == 0.8
    kept = json.loads((settings[0].runs[0].folder / "metrics.json").read_text(encoding="utf-8"))
    assert kept["fp32"]["macro_f1"] == settings[0].runs[0].model_scores["macro_f1"]
    assert len(skipped) == 1
    assert skipped[0][0].startswith("runs/fails-")
    assert "batch" in skipped[0][1]


def test_markdown_and_html_show_what_texts_hold(tmp_path):
    text = "![x](http://a) [b](c) *d* `e` | <i>f</i> & \\"
    shown = to_html(table(["t"], [[text]]) + "\n\n" + plain(text), "<t>", tmp_path)
    assert "<img" not in shown
    assert "<i>" not in shown
    assert "<a " not in shown
    assert shown.count("![x](http://a) [b](c) *d* `e` | &lt;i&gt;f&lt;/i&gt; &amp; \\") == 2
    assert "<title>&lt;t&gt;</title>" in shown
