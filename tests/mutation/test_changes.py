"""The list of wrong changes stays one of this code: each applies, and the tests it names are there."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from changes import ROOT, read_changes

CHANGES = read_changes()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_it_applies_and_its_tests_are_there(change):
    changed = change.apply(ROOT)
    if change.file.endswith(".py"):
        # One that is no Python would be noticed by everything and prove nothing.
        before = ast.parse((ROOT / change.file).read_text(encoding="utf-8"))
        assert ast.dump(ast.parse(changed)) != ast.dump(before)
    assert change.tests
    for test in change.tests:
        file, *names = test.partition("[")[0].split("::")
        body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
        for name in names:
            found = [node for node in body if getattr(node, "name", None) == name]
            assert found, f"no {name} in {file}"
            body = getattr(found[0], "body", [])


def test_there_is_one_for_every_promise():
    assert len(CHANGES) >= 175
