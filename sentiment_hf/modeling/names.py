"""Resolve `model:` to a folder, a Hub id, a model of the package or an alias; suggest the nearest name otherwise."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from itertools import islice
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import REPLACEMENT

logger = logging.getLogger(__name__)

STARTER_FOLDER = Path(__file__).parents[1] / "starter"
STARTER = "starter"
STARTER_REVIEWS = "starter-reviews"
PACKAGED = {STARTER: STARTER_FOLDER, STARTER_REVIEWS: STARTER_FOLDER / "reviews"}
# Names in circulation that the Hub does not know, and the model that is meant.
ALIASES = {"hfl/chinese-tinybert-l4": "hfl/rbt4-h312"}
ADAPTER_CONFIG = "adapter_config.json"

# Seconds that the Hub has to respond at all, before its client waits and tries again in its own way.
_PROBE_SECONDS = 0.7
# Folders that are looked at for one of a similar name.
_FOLDERS_SEEN = 2000


@cache
def resolve_model(model: str) -> str:
    """Map a packaged model's name to its folder and an alias to the id that is meant; return anything else as it is.

    Raises:
        InputError: the packaged model's files are not there.
    """
    if model in ALIASES:
        logger.warning("%s is not on the Hub; taking %s, the model of that shape", model, ALIASES[model])
        return ALIASES[model]
    if model not in PACKAGED:
        return model
    folder = PACKAGED[model]
    if not (folder / "config.json").is_file():
        remedy = "Reinstall sentiment_hf; its wheel holds these files."
        raise InputError(f"the model {model} that comes with the package", f"no files in {folder}", remedy)
    return str(folder)


def given_name(model: str) -> str:
    """Map a packaged model's folder to the name that a command may give it; return any other as it is."""
    return next((name for name, folder in PACKAGED.items() if str(folder) == model), model)


def check_there(model: str, revision: str | None = None) -> None:
    """Refuse at once what names no folder and cannot be on the Hub, before its client tries again and again.

    Args:
        model: from `resolve_model`.
        revision: of a Hub id.

    Raises:
        InputError: a folder that is half written, a path to nothing, almost the name of a packaged model, or an id that
            is not in the cache while the Hub is out of reach; the nearest model folder is named.
    """
    path = Path(model)
    if (path / REPLACEMENT).is_dir():
        remedy = f"Finish it: sentiment-hf evaluate --calibrate --model {model}"
        raise InputError(f"a complete model in {model}", "a calibration that was cut off while it wrote", remedy)
    if path.is_dir() and model.strip():
        return
    if path.is_file():
        raise InputError(f"a model's folder at {model}", "a file", "Give the folder that the file lies in.")
    first, *rest = model.split("/")
    is_path = model.startswith((".", "/", "~")) or "\\" in model or model.count("/") > 1 or not model.strip()
    # A Hub id has the shape of a path; whoever has a folder of that name means the folder.
    if is_path or (rest and Path(first).is_dir()) or (not rest and get_close_matches(model, PACKAGED, 1, 0.75)):
        raise nothing_at(model, "nothing there")
    # A path as text is a file; anything else says that there is none.
    cached = [try_to_load_from_cache(model, name, revision=revision) for name in ("config.json", ADAPTER_CONFIG)]
    if any(isinstance(file, str) for file in cached):
        return
    if constants.HF_HUB_OFFLINE:
        raise nothing_at(model, "no such folder, nothing in the cache, and HF_HUB_OFFLINE set")
    if not _hub_responds():
        raise nothing_at(model, "no such folder, nothing in the cache, and no access to the Hub")


def _hub_responds() -> bool:
    try:
        get_session().head(constants.ENDPOINT, timeout=_PROBE_SECONDS)
    except HfHubHTTPError:
        return True
    except (HTTPError, OSError, ValueError):
        return False
    return True


def nothing_at(model: str, found: str) -> InputError:
    """Build the error for a name with no model behind it: which one may be meant, and what comes with the package."""
    folders = [str(folder) for folder in islice(_model_folders(model), _FOLDERS_SEEN)]
    names = {Path(folder).name: folder for folder in reversed(folders)}
    near = get_close_matches(model, [*folders, *PACKAGED], 1, 0.6)
    near = near or [names[name] for name in get_close_matches(Path(model).name, names, 1, 0.6)]
    beside = sorted(folder for folder in folders if Path(folder).parent == Path(model).parent)
    remedy = ""
    if near:
        remedy = f"Is {near[0]} meant? "
    elif beside:
        remedy = f"There: {', '.join(beside[:5])}{', …' if len(beside) > 5 else ''}. "
    remedy += f"With the package come {STARTER_REVIEWS}, a classifier, and {STARTER}, which training starts from."
    return InputError(f"a model at {model or 'the name given'}", found, remedy)


def _model_folders(model: str) -> Iterator[Path]:
    """Folders that hold a model: beside the path that was given, and up to two levels below the current folder."""
    seen = set()
    for place, pattern in ((Path(model).parent, "*"), (Path("."), "*"), (Path("."), "*/*")):
        for name in ("config.json", ADAPTER_CONFIG):
            try:
                found = list(islice(place.glob(f"{pattern}/{name}"), _FOLDERS_SEEN))
            except OSError:
                continue
            for file in found:
                if file.parent not in seen:
                    seen.add(file.parent)
                    yield file.parent
