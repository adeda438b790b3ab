"""Metadata lives in setup.cfg; this puts the Space, which lies at the top of a checkout, into what is built."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SPACE = Path("spaces_demo")


class BuildWithSpace(build_py):
    """Packages as ever, and the Space's files inside sentiment_hf, where `push --space` looks for them."""

    def run(self) -> None:
        super().run()
        # An editable installation finds them in the checkout.
        if not self.editable_mode:
            built = Path(self.build_lib, "sentiment_hf", SPACE.name)
            shutil.copytree(SPACE, built, ignore=shutil.ignore_patterns("__pycache__", ".*"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithSpace})
