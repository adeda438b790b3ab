"""The end of a process that trained together with others."""

from __future__ import annotations

import gc

from accelerate import PartialState


def leave_process_group() -> None:
    """End the threads that talked to the other processes; call this last, in each of them, after work that ended well.

    A thread that still holds tensors while the interpreter ends aborts the process ("terminate called without an active
    exception"), and the launcher then calls the whole job failed. With NCCL it may wait here for the others. Does
    nothing in a process that trained alone.
    """
    # A trainer refers to itself in circles: its DDP module, which holds the group, goes with the next collection only.
    gc.collect()
    PartialState().destroy_process_group()
