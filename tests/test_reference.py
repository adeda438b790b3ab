"""`make docs` builds, and every public name and class of the package has its place in the reference."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import sentiment_hf

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sentiment_hf"


def public_names(path: Path) -> list[str]:
    """Classes and functions of a module that do not begin with an underscore."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    return [
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("pdoc", "onnxruntime", "gradio")),
    reason="the reference is built where every extra is installed",
)
def test_the_reference_has_every_public_name(tmp_path):
    subprocess.run([sys.executable, ROOT / "docs/build_reference.py", tmp_path], check=True, capture_output=True)
    front = (tmp_path / "sentiment_hf.html").read_text(encoding="utf-8")
    assert [name for name in sentiment_hf.__all__ if f'id="{name}"' not in front] == []
    missing = []
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "sentiment_metrics" or path.name == "__init__.py":
            continue
        page = tmp_path / path.relative_to(ROOT).with_suffix(".html")
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        missing += [f"{path.stem}.{name}" for name in public_names(path) if f'id="{name}"' not in text]
    assert missing == []


def test_everything_public_has_a_docstring():
    bare = []
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "sentiment_metrics":  # its decorator writes the docstring
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) or path.parent == PACKAGE, f"{path} has no docstring"
        bare += [
            f"{path.stem}.{node.name}"
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
        ]
    assert bare == []
