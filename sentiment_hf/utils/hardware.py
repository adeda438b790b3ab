"""CPU features, and subprocesses that end with their parent."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction-set flags as Linux names them (`avx512_vnni`, `amx_bf16`); empty on other systems."""
    for key, value in _cpuinfo_lines():
        if key in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


@cache
def cpu_name() -> str:
    """Read the processor's name, for records of measurements."""
    for key, value in _cpuinfo_lines():
        if key == "model name":
            return value
    return platform.processor() or platform.machine()


def cpu_runs_bf16_fast() -> bool:
    """Whether matrix products in bfloat16 have their own instructions, so that bf16 is faster than FP32."""
    return bool(cpu_flags() & {"avx512_bf16", "amx_bf16"})


def native_int8_arch() -> str:
    """Choose the INT8 target of this processor: `avx512_vnni`, `avx2` or `arm64`."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm64"
    return "avx512_vnni" if "avx512_vnni" in cpu_flags() else "avx2"


def usable_threads() -> int:
    """Processor threads that this process may use: `OMP_NUM_THREADS`, else the cores it is allowed to run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    # Not everywhere can a process be bound to some of the cores.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float | None:
    """Return the most memory that this process has held, in 10^6 bytes; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux's getrusage hands the peak down from the process that started this one.
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        return None
    import resource

    # Bytes on macOS, kibibytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _cpuinfo_lines() -> list[tuple[str, str]]:
    if not _CPUINFO.is_file():
        return []
    lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines)
    return [(key.strip(), value.strip()) for key, _, value in pairs]


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
