"""Push a finished run to the Hub, and its demo page as a Space."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_hf.publishing.card import HUB_ID, ModelCard, render
from sentiment_hf.publishing.files import PushedFile, is_ours, pushed_files
from sentiment_hf.publishing.repository import Pushed, Repository, check_repo_id, open_hub
from sentiment_hf.publishing.run import CONFIG_FILE, FinishedFolder, read_run, sources_of
from sentiment_hf.training.provenance import HUB
from sentiment_hf.utils.console import show
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PushOptions:
    """How a run is pushed.

    Attributes:
        private: make a new repository private.
        space: push the demonstration page as well, pinned to the pushed revision.
        create_pr: open a pull request in place of a commit to main.
        license: of the weights, as the Hub names it (`apache-2.0`, `mit`, …); the recipe's `license` where it is None.
        findings: a page of `sentiment-hf sweep report` that goes along, with the texts that it shows.
        compare: folders of runs of the same task that stand in the card's score table, too.
        token: of the Hub; the one of this machine where it is None.
    """

    private: bool = False
    space: bool = False
    create_pr: bool = False
    license: str | None = None
    compare: tuple[str, ...] = ()
    findings: str | None = None
    token: str | None = None


def push_run(run: str | Path, repo_id: str, options: PushOptions | None = None) -> tuple[Pushed, Pushed | None]:
    """Push a finished run.

    Whatever can be refused without the Hub is refused before it is asked anything.

    Args:
        run: folder of the run.
        repo_id: `user/model`.
        options: see there.

    Returns:
        What was done to the model's repository and, with `space`, to that of the page.

    Raises:
        InputError: no run, no id of a repository, no token that may write, a repository of another task, or whatever
            the Hub or the network said.
    """
    options = options or PushOptions()
    check_repo_id(repo_id, Path(run).resolve().name)
    finished = read_run(run)
    findings = None if options.findings is None else Path(options.findings)
    paths = frozenset(file.path for file in pushed_files(finished, "", findings))
    others = [read_run(other) for other in options.compare]
    card = model_card(finished, repo_id, paths, options.license, others)
    files = pushed_files(finished, render(card), findings)
    page = space_folder() if options.space else None
    api, token_name = open_hub(options.token)
    repository = Repository(api, repo_id, token_name)
    repository.make(options.private)
    _check_same_task(repository, finished)
    size = sum(len(file.content) if isinstance(file.content, bytes) else file.content.stat().st_size for file in files)
    logger.info("%d files, %.1f MB for %s", len(files), size / 1e6, repo_id)
    message = f"{finished.metrics['task']}: {Path(run).resolve().name}, protocol {finished.metrics['protocol']}"
    pushed = repository.bring_up_to_date(files, is_ours, message, options.create_pr)
    if page is None:
        return pushed, None
    space = Repository(api, repo_id, token_name, kind="space")
    return pushed, push_space(space, page, pushed.revision, options.private, options.create_pr)


def check_push(repo_id: str | None, run: Path, token: str | None = None) -> None:
    """Refuse before a long training what would be refused after it.

    Raises:
        InputError: no id of a repository, or no token that may write.
    """
    if repo_id is None:
        remedy = "Name it with `hub_model_id: user/model`."
        raise InputError("a repository for push_to_hub", "no hub_model_id", remedy)
    check_repo_id(repo_id, run.name)
    open_hub(token)


def show_pushed(model: Pushed, space: Pushed | None = None) -> None:
    """Say what a push did."""
    for pushed in (model, space):
        if pushed is not None and pushed.changed:
            show(f"{len(pushed.changed)} files pushed to {pushed.url}, revision {pushed.revision}")
        elif pushed is not None:
            show(f"{pushed.url} already holds all of it, revision {pushed.revision}")


def model_card(
    run: FinishedFolder,
    repo_id: str,
    paths: frozenset[str],
    license: str | None = None,
    others: Sequence[FinishedFolder] = (),
) -> ModelCard:
    """Build the card of a run whose repository has these paths.

    Raises:
        InputError: one of the other runs is of another task.
    """
    for other in others:
        if _task(other.config) != _task(run.config):
            found = f"{_described(other.config)} in {other.folder}"
            raise InputError(f"runs of {_described(run.config)} to compare with", found, "Leave it out.")
    recorded = sources_of(run).get("model")
    model = str(run.recipe.get("model", "") if recorded is None else recorded["name"])
    # Of an older run: a folder may look like a Hub id, too, from wherever the run was started.
    started = (Path(), *run.folder.resolve().parents)
    is_hub = recorded["kind"] == HUB if recorded else not any((folder / model).is_dir() for folder in started)
    base_model = model if HUB_ID.fullmatch(model) and is_hub else None
    return ModelCard(repo_id, run, tuple(others), paths, license or run.recipe.get("license"), base_model)


def _check_same_task(repository: Repository, run: FinishedFolder) -> None:
    """Raise InputError where the repository holds a model of another task, whose users would get other labels."""
    head = repository.head()
    if CONFIG_FILE not in repository.files(head):
        return
    there: dict[str, Any] = json.loads(repository.read(CONFIG_FILE, head))
    if _task(there) != _task(run.config):
        remedy = "Push to another repository: whoever loads this one expects its labels."
        raise InputError(f"a model of {_described(run.config)} in {repository.name}", _described(there), remedy)


def _task(config: dict[str, Any]) -> tuple[Any, ...]:
    saved = config.get("sentiment_hf", {})
    return saved.get("task"), sorted(config.get("id2label", {}).items()), config.get("aspects")


def _described(config: dict[str, Any]) -> str:
    labels = ", ".join(map(str, config.get("id2label", {}).values())) or "no labels"
    return f"task {config.get('sentiment_hf', {}).get('task', 'unknown')} ({labels})"


SPACE_FOLDER = "spaces_demo"
# What the app loads: {"model": "user/model", "revision": "<commit>"}.
PIN_FILE = "space.json"
PACKAGE = Path(__file__).parents[1]
LEFT_BEHIND = ("__pycache__", ".ipynb_checkpoints")


def space_folder() -> Path:
    """Find the page's files: in the package where it was installed from a wheel, beside it in a checkout.

    Raises:
        InputError: they are in neither.
    """
    for folder in (PACKAGE / SPACE_FOLDER, PACKAGE.parent / SPACE_FOLDER):
        if (folder / "app.py").is_file():
            return folder
    remedy = f"Install the package anew, which has {SPACE_FOLDER}/, or leave --space out."
    raise InputError(f"the page's files for --space in {SPACE_FOLDER}", "none beside this installation", remedy)


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
