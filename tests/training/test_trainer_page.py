"""The Python of docs/trainer.md and of the README's first block runs as it stands, one block after the other."""

import re
from pathlib import Path

import pytest

from sentiment_hf import SentimentClassifier

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def run_blocks(tmp_path, monkeypatch):
    """Run the blocks of a page in an empty folder; returns the names that they leave."""
    monkeypatch.chdir(tmp_path)

    def run(page: str, first: int | None = None) -> dict[str, object]:
        names: dict[str, object] = {"__name__": "page"}
        for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))[:first]:
            exec(compile(block, page, "exec"), names)
        return names

    return run


def test_every_block_of_the_page(run_blocks, capsys):
    names = run_blocks("docs/trainer.md")
    # Beside what transformers print of their progress.
    assert {"差评", "好评"} & set(capsys.readouterr().out.split())
    # The last block's model was chosen by its own score.
    assert names["trainer"].state.best_metric == names["trainer"].evaluate()["eval_missed"]
    assert SentimentClassifier.from_pretrained("runs/by-hand").task.labels == ("差评", "好评")


def test_the_first_block_of_the_readme(run_blocks, capsys):
    run_blocks("README.md", first=1)
    assert capsys.readouterr().out.split()[-1] in ("negative", "positive")
    for page in ("README.md", "README.zh.md"):
        block = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))[0]
        assert "SentimentTrainer(" in block
        assert len(block.splitlines()) <= 16
