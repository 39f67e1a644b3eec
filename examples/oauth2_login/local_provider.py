"""A local OpenID provider in Node.js, installed where it is missing, and ended with its user."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).parent / "provider"


class NoProviderError(Exception):
    """The provider cannot be started; the message says what to do."""


@contextmanager
def local_provider(shop: str, folder: Path = FOLDER) -> Iterator[str]:
    """Run the provider on a free port of this computer.

    Args:
        shop: Address of the application that it sends browsers back to.
        folder: Where ``provider.js`` and its ``package.json`` are.

    Yields:
        The provider's address.

    Raises:
        NoProviderError: Node.js is missing, or the provider does not start.
    """
    install(folder)
    # It ends when its input does, so it never outlives this process, whatever happens to it.
    command = ["node", str(folder / "provider.js"), shop]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            issuer = process.stdout.readline().strip()
            if not issuer:
                raise NoProviderError("the local provider did not start; its words are above")
            yield issuer
        finally:
            process.stdin.close()


def install(folder: Path = FOLDER) -> None:
    """Install what the lock file says, unless that is there already.

    Raises:
        NoProviderError: Node.js is missing, or npm cannot do it.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NoProviderError("the local provider needs Node.js 22 or newer: https://nodejs.org")
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".installed"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    options = ["--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(  # noqa: S603 - found above
        [npm, "ci", *options], cwd=folder, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise NoProviderError(f"npm ci failed in {folder}; its words are above")
    shutil.copyfile(lock, installed)
