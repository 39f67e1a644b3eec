"""``pyfly-session demo``: the demo page on this computer."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from pyfly_session import SessionStoreError, ids
from pyfly_session.cli.common import require_extra, say

if TYPE_CHECKING:
    from pyfly_session.auto_configuration import SessionContainer
    from pyfly_session.config import SessionProperties

_PATIENCE_SECONDS = 5


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Another one lets other computers in.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--profile",
    type=click.Choice(["dev", "file", "prod"]),
    default="dev",
    show_default=True,
    help="dev keeps the sessions in memory, file in SESSION_FILE (sessions.db), prod in Redis, at"
    " REDIS_URL.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when it is up.")
def demo(host: str, port: int, profile: str, as_json: bool) -> None:
    """Show one session at work, on a page in your browser."""
    require_extra("demo", "uvicorn", "jinja2", "python_multipart")
    import uvicorn

    from pyfly_session.auto_configuration.store import choose_store
    from pyfly_session.cli.demo_app.app import create_app
    from pyfly_session.cli.demo_app.settings import allow_plain_http, demo_config

    config = demo_config(profile)
    cookie_opened = allow_plain_http(config)
    app = create_app(config)
    container = app.state.session_container
    asyncio.run(_try_store(container))
    with _listen(host, port) as listener:
        if as_json:
            told = {
                "url": _url(listener),
                "store": choose_store(container.properties())[0],
                "profile": profile,
            }
            click.echo(json.dumps(told))
        else:
            _greet(listener, profile, container.properties(), cookie_opened=cookie_opened)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        # Ctrl+C is how the demo is meant to end; uvicorn has shut down when it passes it on.
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    if not as_json:
        click.echo("\nThe demo has ended.")


async def _try_store(container: SessionContainer) -> None:
    """Look up a session that does not exist, so that a dead server is noticed at start."""
    from pyfly_session.auto_configuration import close_sessions
    from pyfly_session.auto_configuration.store import choose_store

    place = _place(container.properties())
    if choose_store(container.properties())[0] == "redis":
        say(f"Connecting to {place} …")
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await container.session_repository().load(ids.new_id())
    except (SessionStoreError, TimeoutError) as error:
        reason = str(error.__cause__ or error) or f"no answer within {_PATIENCE_SECONDS} seconds"
        raise click.ClickException(
            f"{place} cannot be used: {reason}\n{_remedy(place)}"
            " or keep the sessions in memory with --profile dev."
        ) from error
    finally:
        # The server runs in another event loop and opens connections of its own.
        await close_sessions(container)


def _place(properties: SessionProperties) -> str:
    """Return where the sessions are, without credentials."""
    from pyfly_session.auto_configuration.store import choose_store
    from pyfly_session.cli.common import store_place

    kind = choose_store(properties)[0]
    names = {"memory": "memory", "redis": "Redis at {}", "sql": "the database {}"}
    return names[kind].format(store_place(properties))


def _remedy(place: str) -> str:
    if place.startswith("Redis"):
        return "Start a Redis or Valkey server there, set REDIS_URL to the one you have,"
    return "Set SESSION_FILE to a file that can be written,"


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; from here on the URL works."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        problem = {
            errno.EADDRINUSE: f"port {port} on {host} is taken by another program; choose another"
            f" such as --port {port % 65535 + 1}, or --port 0 for any free one",
            errno.EACCES: f"port {port} needs an administrator; choose one above 1023,"
            " or --port 0 for any free one",
        }.get(error.errno or 0, f"cannot listen on --host {host} --port {port}: {error.strerror}")
        raise click.ClickException(problem) from error


def _greet(
    listener: socket.socket, profile: str, properties: SessionProperties, *, cookie_opened: bool
) -> None:
    """Print where the page is, where the sessions are, and what to try."""
    click.echo(f"Profile {profile}, sessions in {_place(properties)}.\n")
    click.echo(f"    Open  {_url(listener)}\n")
    click.echo('Log in, fill the cart, press "New id", and look at the cookie')
    click.echo(f"{properties.cookie_name} in your browser's developer tools. Ctrl+C ends the demo.")
    if cookie_opened:
        click.echo(f"\nThe {profile} profile sends its cookie over HTTPS only. This page is plain")
        click.echo("HTTP, so here, and only here, cookie.secure is off.")
    if not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        click.echo("\nOther computers can reach this page, and the network can read along.")


def _url(listener: socket.socket) -> str:
    """Return where the page is, for a browser on this computer."""
    address, port = listener.getsockname()[:2]
    ip = ipaddress.ip_address(address)
    if ip.version == 4:
        host = "127.0.0.1" if ip.is_unspecified else str(ip)
    else:
        host = "[::1]" if ip.is_unspecified else f"[{ip}]"
    return f"http://{host}:{port}"
