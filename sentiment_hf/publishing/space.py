"""The demonstration page as a Space, pinned to the revision of the model that was pushed with it."""

from __future__ import annotations

import json
from pathlib import Path

from sentiment_hf.exceptions import InputError
from sentiment_hf.publishing.files import PushedFile
from sentiment_hf.publishing.repository import Pushed, Repository

FOLDER = "spaces_demo"
# What the app loads: {"model": "user/model", "revision": "<commit>"}.
PIN_FILE = "space.json"
PACKAGE = Path(__file__).parents[1]
LEFT_BEHIND = ("__pycache__", ".ipynb_checkpoints")


def space_folder() -> Path:
    """Find the page's files: in the package where it was installed from a wheel, beside it in a checkout.

    Raises:
        InputError: they are in neither.
    """
    for folder in (PACKAGE / FOLDER, PACKAGE.parent / FOLDER):
        if (folder / "app.py").is_file():
            return folder
    remedy = f"Install the package anew, which has {FOLDER}/, or leave --space out."
    raise InputError(f"the page's files for --space in {FOLDER}", "none beside this installation", remedy)


def push_space(repository: Repository, folder: Path, revision: str, private: bool, create_pr: bool) -> Pushed:
    """Push the page.

    Args:
        repository: the Space, of the same `user/model` as the model.
        folder: the page's files.
        revision: commit of the model that the page is to load.
        private: make a new Space private.
        create_pr: open a pull request in place of a commit.
    """
    pin = json.dumps({"model": repository.name, "revision": revision}, indent=2) + "\n"
    files = [PushedFile(PIN_FILE, pin.encode())]
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != PIN_FILE and not any(part in LEFT_BEHIND for part in path.parts):
            files.append(PushedFile(name, path))
    repository.make(private, sdk="gradio")
    # Whatever else lies in the Space is its owner's.
    return repository.bring_up_to_date(files, lambda path: False, f"Page for {revision[:7]}", create_pr)
