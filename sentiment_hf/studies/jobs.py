"""A run of a sweep at work in a process of its own, and which part of the machine it may use."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass, field

import yaml

from sentiment_hf.files import write_text
from sentiment_hf.hardware import usable_threads
from sentiment_hf.processes import environment_of_child
from sentiment_hf.studies.outcome import ATTEMPT
from sentiment_hf.studies.plan import SETTING_FILE, Run
from sentiment_hf.training.folder import RECIPE_FILE, newest_checkpoint

# Seconds that a stopped process gets to end before it is killed.
_PATIENCE = 10


def visible_gpus() -> tuple[str, ...]:
    """List the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip())
    import torch

    return tuple(str(number) for number in range(torch.cuda.device_count()))


@dataclass(frozen=True)
class Seats:
    """Where the runs that are at work together sit.

    Attributes:
        count: of runs at work at a time. Each gets an equal share of the processor's threads, and of several GPUs one,
            in turns; a single run gets the whole machine.
        gpus: what `CUDA_VISIBLE_DEVICES` may name.
    """

    count: int = 1
    gpus: tuple[str, ...] = field(default_factory=visible_gpus)

    def environment(self, seat: int) -> dict[str, str]:
        """Variables for the run on this seat, from 0."""
        if self.count == 1:
            return {}
        # Processes that take all cores each get in each other's way.
        variables = {"OMP_NUM_THREADS": str(max(1, usable_threads() // self.count))}
        if len(self.gpus) > 1:
            variables["CUDA_VISIBLE_DEVICES"] = self.gpus[seat % len(self.gpus)]
        return variables


class Job:
    """A run's process, from where the run stopped if it was begun.

    Started by the thread that waits for it: the process ends when that thread does.

    Args:
        run: what is done; its log gets what the process prints.
        baseline: whether the baseline is fitted along with it.
        variables: of the environment, beside those of this process.
    """

    def __init__(self, run: Run, baseline: bool, variables: dict[str, str]) -> None:
        write_text(run.folder.with_name(SETTING_FILE), yaml.safe_dump(run.recipe, allow_unicode=True, sort_keys=False))
        command = run.command(baseline)
        goes_on = run.is_begun and newest_checkpoint(run.folder, "true") is not None
        if not run.is_begun and run.folder.is_dir():
            # A run that was cut off before it wrote its recipe leaves half of it; the run refuses anything else.
            run.folder.joinpath(f"{RECIPE_FILE}.partial").unlink(missing_ok=True)
        with run.log.open("ab" if goes_on else "wb") as log:
            log.write(f"{ATTEMPT}{shlex.join(command)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                command,
                env=environment_of_child() | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def poll(self) -> int | None:
        """Its exit status, or None while it is at work."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end; `join` waits for it."""
        if self._process.poll() is None:
            self._process.terminate()

    def join(self) -> None:
        """Wait until it has ended, and kill it where it does not."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
