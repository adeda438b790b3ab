"""Processes that others start and that end with them, also where those are killed and can say nothing any more."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PARENT = "SENTIMENT_HF_PARENT"
_PR_SET_PDEATHSIG = 1


def environment_of_child() -> dict[str, str]:
    """Build the environment for a process that calls `end_with_parent`."""
    return {**os.environ, _PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """End this process when the one that started it through `environment_of_child` ends.

    A sweep that was killed and started again would otherwise meet its own training, still at work in the same folder.
    Linux alone knows this; elsewhere, and for processes started in any other way, nothing happens.
    """
    parent = os.environ.pop(_PARENT, None)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        # It was killed before the line above.
        sys.exit(128 + signal.SIGTERM)
