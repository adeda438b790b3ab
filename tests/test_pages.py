"""What people read first: both READMEs say the same, links lead somewhere, the room map shows the rooms there are."""

import configparser
import re
from collections import Counter
from pathlib import Path

import pytest

from sentiment_hf.cli.main import ALL_VERBS

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.zh.md"]
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*.md")})
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_of(text: str) -> list[str]:
    """The lines of code blocks, without comments and what stands before them."""
    blocks = re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s*#.*", "", line) for block in blocks for line in block.splitlines()]


def prose_of(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_both_readmes_have_the_same_code():
    english, chinese = (code_of(text_of(name)) for name in READMES)
    assert english == chinese


def test_both_readmes_have_the_same_figures():
    figures = [
        [re.findall(r"\d[\d.,]*\d|\d", line) for line in text_of(name).splitlines() if line.startswith("|")]
        for name in READMES
    ]
    assert figures[0] == figures[1]
    said = [Counter(re.findall(r"\d[\d.,]*\d|\d", prose_of(text_of(name)))) for name in READMES]
    assert said[0] == said[1]


def test_both_readmes_have_the_same_links_and_names():
    english, chinese = (text_of(name) for name in READMES)
    assert [link for link in LINK.findall(english) if link != "README.zh.md"] == [
        link for link in LINK.findall(chinese) if link != "README.md"
    ]
    assert "README.zh.md" in LINK.findall(english)
    assert "README.md" in LINK.findall(chinese)
    names = [Counter(re.findall(r"`([^`\n]+)`", prose_of(text))) for text in (english, chinese)]
    assert names[0] == names[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    prose = prose_of(page.read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in LINK.findall(prose) if "://" not in link]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_the_room_map_shows_the_rooms_there_are():
    table = [line.split("|")[1] for line in text_of("CONTRIBUTING.md").splitlines() if line.startswith("| `")]
    shown = [name.removesuffix("/") for cell in table for name in re.findall(r"`([^`]+)`", cell)]
    package = ROOT / "sentiment_hf"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    files = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert sorted(shown) == sorted(folders | files)


def test_every_verb_and_extra_stands_in_both_readmes():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    for name in READMES:
        text = text_of(name)
        assert [verb for verb in ALL_VERBS if f"| `{verb}` |" not in text] == []
        extras = set(setup["options.extras_require"]) - {"onnx", "gpu"}
        assert [extra for extra in extras if not re.search(rf"^\|.*`{extra}`", text, re.MULTILINE)] == []
        assert "[onnx]" in text
        assert "[gpu]" in text


def test_every_target_of_the_makefile_is_explained():
    makefile = text_of("Makefile")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    explained = re.findall(r"^([a-z0-9-]+):.*## \S", makefile, re.MULTILINE)
    assert sorted(explained) == sorted(phony[1].split())
