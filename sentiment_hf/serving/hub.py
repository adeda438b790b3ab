"""Files of a model on the Hub: which it has, and no more of them downloaded than a backend reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

# HTTPError is the base class of the HTTP library in use, which is another one in each major of the client.
from huggingface_hub.errors import EntryNotFoundError, HTTPError, LocalEntryNotFoundError  # type: ignore[attr-defined]

from sentiment_hf.exceptions import InputError


def hub_has(model: str, paths: Sequence[str], revision: str | None) -> set[str]:
    """Which of these paths the repository has; without access to the Hub, which of them are in the cache."""
    try:
        return set(paths) & set(HfApi().list_repo_files(model, revision=revision))
    except (HTTPError, OSError, ValueError):
        # A path as text is a file; the cache also notes that a file was not there, and knows nothing of others.
        return {path for path in paths if isinstance(try_to_load_from_cache(model, path, revision=revision), str)}


def hub_file(model: str, paths: Sequence[str], revision: str | None) -> Path:
    """Get the first of these files that the repository has, from the cache or downloaded into it.

    Raises:
        InputError: it has none of them, or the Hub cannot be reached and the cache has none of them.
    """
    found = "none"
    # Weights of a large graph lie beside it, under a name that stands in it.
    beside = {path: [f"{path}_data", f"{path}.data"] for path in paths if path.endswith(".onnx")}
    there = hub_has(model, [*paths, *(name for names in beside.values() for name in names)], revision)
    # Where it has none, the client says why.
    for path in [path for path in paths if path in there] or paths[:1]:
        try:
            file = Path(hf_hub_download(model, path, revision=revision))
            for name in beside.get(path, ()):
                if name in there:
                    hf_hub_download(model, name, revision=revision)
            return file
        except LocalEntryNotFoundError:
            found = "no access to the Hub, and nothing in the cache"
        except EntryNotFoundError:
            continue
        except (HTTPError, OSError) as error:
            found = (str(error).strip().splitlines() or [type(error).__name__])[0]
    remedy = "Use backend torch; or give a folder that holds it."
    raise InputError(f"{paths[0]} in {model} on the Hub", found, remedy)
