"""The versions that setup.cfg promises are those that the constraints pin, so that what is tested is what is said."""

import configparser
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
# Tools of the tests have no lowest version, and what wants a GPU is in none of their environments; torch comes in one
# build for all of them.
FREE = {"dev", "gpu", "4bit"}


def requirements() -> list[Requirement]:
    texts = [SETUP["options"]["install_requires"]]
    texts += [text for extra, text in SETUP["options.extras_require"].items() if extra not in FREE]
    lines = [line.partition("#")[0].strip() for text in texts for line in text.splitlines()]
    return [Requirement(line) for line in lines if line]


def pinned(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(package): Version(version) for package, version in pairs}


def test_every_requirement_has_a_lower_bound_and_the_lowest_constraints_pin_it():
    lowest = pinned("constraints-lowest.txt")
    for requirement in requirements():
        bounds = [item.version for item in requirement.specifier if item.operator == ">="]
        assert len(bounds) == 1, f"{requirement} needs one lower bound"
        name = canonicalize_name(requirement.name)
        if name != "torch":
            assert lowest[name] == Version(bounds[0]), f"constraints-lowest.txt has {name} {lowest[name]}"


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_what_the_constraints_pin_is_allowed(name):
    versions = pinned(name)
    for requirement in requirements():
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_page_of_the_matrix_names_every_environment():
    page = (ROOT / "docs/results/test-matrix.md").read_text(encoding="utf-8")
    for environment in re.findall(
        r'^    Environment\("([^"]+)"', (ROOT / "tests/run_matrix.py").read_text(), re.MULTILINE
    ):
        assert f"| {environment} |" in page
