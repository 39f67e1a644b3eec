"""A real PostgreSQL of Debian's package, on loopback, in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HOST = "127.0.0.1"
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where they are; those of the newest at last."""
_PATIENCE_SECONDS = 30.0
# Below the range from which the system takes client ports, and not where other servers of tests
# are looked for.
_PORTS = (20_000, 28_000)


class Postgresql:
    """One server process, which may be stopped and started again.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self.port = random.randrange(*_PORTS)  # noqa: S311 - no secret
        self.directory = Path(tempfile.mkdtemp(prefix="pyfly-session-postgresql-"))
        if self._user:
            shutil.chown(self.directory, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", "data", "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync")

    @property
    def url(self) -> str:
        """Where it is, for SQLAlchemy."""
        return f"postgresql+asyncpg://tests@{HOST}:{self.port}/postgres"

    def start(self) -> Postgresql:
        """Start the server and wait until it answers."""
        settings = [f"port={self.port}", f"listen_addresses={HOST}", "fsync=off"]
        settings += [f"unix_socket_directories={self.directory}", "max_connections=200"]
        options = (word for setting in settings for word in ("-c", setting))
        log = (self.directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                [self._programs / "postgres", "-D", "data", *options],
                cwd=self.directory,
                user=self._user,
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + _PATIENCE_SECONDS
        ready = [str(self._programs / "pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:  # noqa: S603
            if time.monotonic() > give_up or self._process.poll() is not None:
                told = (self.directory / "log").read_text("utf-8")
                raise RuntimeError(f"PostgreSQL did not start: {told}")
            time.sleep(0.05)
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server; SIGINT breaks off what its clients do, SIGQUIT leaves no goodbye."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_PATIENCE_SECONDS)
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(  # noqa: S603 - our own arguments
            [self._programs / program, *arguments],
            cwd=self.directory,
            user=self._user,
            check=True,
            stdout=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def running_postgresql() -> Iterator[Postgresql]:
    """Start a server; skip the test where there is none, or fail where CI is set."""
    if not PROGRAMS:
        # Here, for the benchmark has no pytest.
        from tests.needs import lacks

        lacks("PostgreSQL: apt-get install postgresql")
    server = Postgresql(PROGRAMS[-1])
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)
