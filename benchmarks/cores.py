"""Who runs on which core, and the CPU time of another process."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_ALL = sorted(os.sched_getaffinity(0))
_SERVER = _ALL[-1:]
_LOAD = _ALL[:-1] or _ALL


def share() -> None:
    """Keep this process and its children off the last core, which is for the server under test.

    A machine with one core has nothing to keep off.
    """
    os.sched_setaffinity(0, _LOAD)


def loosen(pid: int) -> None:
    """Let a child start on any core, which is faster."""
    os.sched_setaffinity(pid, _ALL)


def pin(pid: int) -> None:
    """Put a server and all of its threads on the core that is for servers."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), _SERVER)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, in user and system mode.

    Source: clock_getcpuclockid(3), which Python does not offer for other processes. It counts
    nanoseconds, where ``/proc/<pid>/stat`` has ticks of ten milliseconds.
    """
    return time.clock_gettime(~pid << 3 | 2)
