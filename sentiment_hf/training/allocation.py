"""Freed memory that a training process keeps for its next step."""

from __future__ import annotations

import ctypes
import sys

# mallopt's parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_TOP_PAD_BYTES = 256 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, in place of handing it back to the system and asking again.

    On a processor each step of training allocates and frees tensors of many megabytes. glibc takes such blocks from
    the system one by one and gives them back at once, and the system clears every page anew: with eager attention over
    512 tokens that takes as long as the step itself. The price is memory that stays taken between steps.

    For processes of our own alone: it changes the allocator for all that runs in them.

    Returns:
        Whether the allocator took it; glibc is the only one that is asked.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)
