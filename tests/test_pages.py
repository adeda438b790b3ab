"""What people read first: both READMEs say the same, links lead somewhere, the room map shows the rooms there are."""

import argparse
import configparser
import re
from collections import Counter
from pathlib import Path

import pytest

from sentiment_hf.cli.main import ALL_VERBS, build_parser

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


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", prose_of(page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


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
    links = [link.partition("#") for link in LINK.findall(prose) if "://" not in link]
    assert [target for target, _, _ in links if target and not (page.parent / target).exists()] == []
    named = [(page.parent / target if target else page, anchor) for target, _, anchor in links if anchor]
    assert [anchor for target, anchor in named if anchor not in anchors_of(target)] == []


def test_the_gate_is_explained_once():
    """One section of one page says what the INT8 gate is; a page that names it leads there."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    explained = [page.name for page, text in texts.items() if re.search(r"^#+ .*\bgate\b", text, re.MULTILINE)]
    assert explained == ["measuring.md"]
    naming = [page for page, text in texts.items() if page.parent != ROOT and re.search(r"\bgate\b", text)]
    assert len(naming) > 5
    elsewhere = [page for page in naming if page.name != "measuring.md"]
    assert [page.name for page in elsewhere if "measuring.md#the-int8-gate" not in texts[page]] == []


def test_figures_stand_among_the_results():
    """A deviation is a measurement: outside of docs/results a page gives the figure alone, or a link."""
    pages = [page for page in PAGES if "results" not in page.parts and page.parent != ROOT]
    assert [page.name for page in pages if "±" in page.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("page", [*READMES, "sentiment_hf/starter/README.md"])
def test_figures_said_elsewhere_are_those_of_the_results(page):
    recorded = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("docs/results/**/*.md"))
    # The quickstart's table has more of them than its record, which names the accuracy.
    text = text_of(page) if page not in READMES else re.sub(r"^\|.*$", "", text_of(page), flags=re.MULTILINE)
    figures = re.findall(r"\d+\.\d+ ± \d+\.\d+", text)
    assert len(figures) >= 3
    assert [figure for figure in figures if figure not in recorded] == []


def test_the_picture_of_the_architecture_shows_the_rooms_of_its_list():
    text = text_of("docs/architecture.md")
    drawn = re.findall(r'^ {8}\w+\["(\w+)', text, re.MULTILINE)
    listed = re.findall(r"^\| `(\w+)/`", text, re.MULTILINE)
    assert set(drawn) == set(listed)
    assert len(listed) == len(set(listed))


def test_what_contributing_names_is_there():
    """The lists of how to add something name files, and names in them, that exist."""
    lists = text_of("CONTRIBUTING.md").partition("## How to add")[2].partition("## Style")[0]
    names = re.findall(r"`([^`\s]+)`", lists)
    places = [ROOT, ROOT / "sentiment_hf"]
    files = [name for name in names if name.endswith((".py", "/"))]
    assert len(files) > 5
    assert [name for name in files if not any((place / name).exists() for place in places)] == []
    for module, _, name in (name.rpartition(".") for name in names if name not in files):
        source = ROOT / f"sentiment_hf/{module}.py"
        if module and source.is_file():
            assert re.search(rf"\b{name}\b", source.read_text(encoding="utf-8")), f"{module}.{name}"


def test_the_room_map_shows_the_rooms_there_are():
    table = [line.split("|")[1] for line in text_of("docs/architecture.md").splitlines() if line.startswith("| `")]
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


def options_of_verbs() -> dict[str, set[str]]:
    """Each verb as it is typed, with the options that it takes."""
    found: dict[str, set[str]] = {}

    def collect(parser: argparse.ArgumentParser, verb: str) -> None:
        inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in inner:
            for name, verb_parser in action.choices.items():
                collect(verb_parser, f"{verb} {name}".strip())
        if not inner:
            found[verb] = {option for action in parser._actions for option in action.option_strings}

    collect(build_parser(), "")
    return found | {"audit": found["data audit"]}


def test_every_command_of_the_pages_has_a_verb_and_options_that_there_are():
    known, seen = options_of_verbs(), set()
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        blocks = re.findall(r"^```bash\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for line in "".join(blocks).replace("\\\n", " ").splitlines():
            words = line.partition("#")[0].split()
            if "sentiment-hf" not in words:
                continue
            words = words[words.index("sentiment-hf") + 1 :]
            verb = next((name for name in (" ".join(words[:2]), words[0]) if name in known), None)
            assert verb is not None, (page.name, line)
            options = {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
            assert options <= known[verb], (page.name, line, options - known[verb])
            seen.add(verb)
    assert len(seen) > 12
