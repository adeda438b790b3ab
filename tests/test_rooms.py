"""The house is kept: imports run downwards, files stay short, recipes and the package speak of themselves alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sentiment_hf"
# Lowest floor first; a file imports from its own floor or a lower one.
FLOORS = [
    {"utils"},
    {"config"},
    {"losses"},
    {"tasks"},
    {"data"},
    {"modeling"},
    {"inference"},
    {"evaluation"},
    {"explain"},
    {"training"},
    {"distillation"},
    {"compression"},
    {"batch"},
    {"enrich"},
    {"sweeps", "benchmark"},
    {"publishing"},
    {"serving"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


def room_of(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    own = LEVEL[path.relative_to(PACKAGE).parts[0].removesuffix(".py")]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sentiment_hf."):
            assert LEVEL[room_of(node.module)] <= own, f"{path.name} imports {node.module} from a room above"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_asks_which_task_it_is(path):
    """A task knows its own labels, so that another label structure is one more file in `tasks`."""
    from sentiment_hf import tasks

    kinds = {name for name, value in vars(tasks).items() if isinstance(value, type) and issubclass(value, tasks.Task)}
    assert len(kinds) >= 4
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            asked = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
            assert not asked & kinds, f"{path.name}, line {node.lineno}"


def test_public_names_are_handed_out():
    import sentiment_hf

    for name in sentiment_hf.__all__:
        assert getattr(sentiment_hf, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = sentiment_hf.nonsense
