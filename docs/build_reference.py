"""The API reference as HTML pages, from the docstrings: `python docs/build_reference.py FOLDER`, or `make docs`.

pdoc is given the rooms one by one: the package names in `__all__` what it hands out, which pdoc takes for all there is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from pkgutil import iter_modules

import pdoc

import sentiment_hf


def build(folder: Path) -> None:
    """Write a page for every module, an index and a search."""
    for name in sentiment_hf.__all__:
        # pdoc shows what stands in the module; these names come when they are first asked for.
        setattr(sentiment_hf, name, getattr(sentiment_hf, name))
    rooms = [f"sentiment_hf.{module.name}" for module in iter_modules(sentiment_hf.__path__)]
    pdoc.render.configure(docformat="google", show_source=False)
    pdoc.pdoc("sentiment_hf", *rooms, output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
