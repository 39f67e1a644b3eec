"""How long the import takes in a process of its own, without the start of the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

# The package `starlette` itself is a version number.
OURS, THEIRS = "pyfly_session", "starlette.applications"

_CODE = """
import sys, time
began = time.process_time()
__import__(sys.argv[1])
print(time.process_time() - began)
"""


def milliseconds(module: str) -> float:
    """Return the CPU time of one import, with everything that it imports in turn.

    The first one of all compiles, and leaves what it compiled to the others.
    """
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", _CODE, module]
    done = subprocess.run(
        command, env=environment, capture_output=True, check=True, encoding="utf-8"
    )
    return float(done.stdout) * 1e3
