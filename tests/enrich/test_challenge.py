"""The script that scores models on pairs of irony and contrast."""

import json
import subprocess
import sys

from tests.conftest import ROOT
from tests.enrich.test_augment import CHALLENGE

SCRIPT = ROOT / "recipes/enrich/challenge.py"


def run(*words):
    command = [sys.executable, str(SCRIPT), str(CHALLENGE), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_models_are_scored_by_kind_of_pair(model_folder, tmp_path):
    files = []
    for number, text in enumerate(("窗外有一片海，好看", "这家的面很香")):
        files.append(tmp_path / f"{number}.jsonl")
        files[-1].write_text(json.dumps({"text": text, "label": "positive"}, ensure_ascii=False), encoding="utf-8")
    words = ["--written", files[0], f"before={model_folder}", f"after={model_folder}", "--written", files[1]]
    done = run(*words, f"after={model_folder}")
    assert done.returncode == 0, done.stderr
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert header == ["models", "runs", "all", "contrast", "irony", "plain", "hard pairs"]
    assert [row[:2] for row in rows] == [["before", "1"], ["after", "2"]]
    assert rows[0][2:] == rows[1][2:], "the same model twice"
    overall, *kinds = (float(cell.split(" ± ")[0]) for cell in rows[0][2:6])
    # 26, 26 and 52 pairs.
    assert abs(overall - (kinds[0] + kinds[1] + 2 * kinds[2]) / 4) < 0.1


def test_what_was_written_shares_nothing_with_the_sentences(model_folder, tmp_path):
    first = json.loads(CHALLENGE.read_text(encoding="utf-8").splitlines()[0])["text"]
    written = tmp_path / "written.jsonl"
    written.write_text(json.dumps({"text": f"我说{first[2:14]}"}, ensure_ascii=False), encoding="utf-8")
    done = run(f"mine={model_folder}", "--written", written)
    assert done.returncode == 2
    assert "that share no 8 characters with the sentences, found 1 that do" in done.stderr
    assert "models as NAME=MODEL, found" in run(model_folder).stderr
