"""Errors of a Redis store that was set up wrongly say where to look."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.exceptions import ResponseError

from pyfly_session.adapters.redis import RedisSessionStore
from pyfly_session.auto_configuration import close_sessions, create_container
from pyfly_session.errors import SessionStoreError, UnsupportedServerError
from tests.support.cases import for_each

# Cluster and Sentinel need a newer driver than a single server does.
several = pytest.mark.skipif(
    redis.__version__ < "8", reason="the driver is too old for several nodes"
)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def refusal(url: str, **more: Any) -> SessionStoreError:
    """Return what the first use of a store raises."""
    redis = {"url": url, "connect-timeout": 0.5, "timeout": 0.5, "deadline": 2, "retries": 0}
    redis |= more
    session = {"enabled": True, "store": "redis", "redis": redis}
    container = create_container({"pyfly": {"session": session}})
    try:
        with pytest.raises(SessionStoreError) as caught:
            await container.session_store().get("a" * 32)
    finally:
        await close_sessions(container)
    return caught.value


async def served(serve: Serve, tls: ssl.SSLContext | None = None) -> tuple[Any, str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    return server, f"127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


def answering(text: bytes) -> Serve:
    """Return a server that answers every command with the same."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while sent := await reader.read(4096):
            writer.write(text * sent.count(b"*"))
        writer.close()

    return serve


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


@for_each(
    ("answer", "hint"),
    [
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", "password"),
        (b"-NOAUTH Authentication required.\r\n", "check pyfly.session.redis.username"),
        (b"-ERR DB index is out of range\r\n", "the number of the database at the end of"),
    ],
)
async def test_what_the_server_refuses(answer: bytes, hint: str) -> None:
    server, address = await served(answering(answer))
    async with server:
        assert hint in str(await refusal(f"redis://{address}"))


@pytest.mark.parametrize(
    "topology",
    ["standalone", pytest.param("cluster", marks=several), pytest.param("sentinel", marks=several)],
)
@pytest.mark.parametrize("answer", [b"unknown command `HELLO`", b"syntax error"])
async def test_a_server_that_is_too_old(answer: bytes, topology: str) -> None:
    """In the handshake, and where it does not know a newer option of a command."""
    server, address = await served(answering(b"-ERR %s\r\n" % answer))
    node = address.removesuffix("/0")
    kinds: dict[str, dict[str, Any]] = {
        "standalone": {},
        "cluster": {"cluster": {"nodes": [node]}},
        "sentinel": {"sentinel": {"master": "shop", "nodes": [node]}},
    }
    async with server:
        error = await refusal(f"redis://{address}", **kinds[topology])
    assert isinstance(error, UnsupportedServerError), error
    assert "needs Redis 6.2 or newer" in str(error)


async def test_a_server_that_turns_out_to_be_too_old_at_work(valkey: Any) -> None:
    """A server of before 6.0 does not know how to leave the life of a key as it is."""

    async def as_an_old_one(*command: Any, **options: Any) -> Any:
        raise ResponseError("ERR syntax error")

    store = RedisSessionStore(client=valkey, pipelining=False)
    valkey.execute_command = as_an_old_one
    with pytest.raises(UnsupportedServerError, match=r"needs Redis 6\.2 or newer"):
        await store.compare_and_swap("a" * 32, b"{}", b'{"a":1}', 0)


async def test_a_name_that_does_not_resolve() -> None:
    assert "the name does not resolve" in str(await refusal("redis://nosuch.invalid:6379/0"))


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "server.pem"
    file.write_bytes(made.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_tls_at_the_server_alone(tls: ssl.SSLContext) -> None:
    server, address = await served(hang_up, tls)
    async with server:
        assert "rediss:// speaks it" in str(await refusal(f"redis://{address}"))


async def test_tls_at_the_client_alone() -> None:
    server, address = await served(answering(b"+OK\r\n"))
    async with server:
        assert "redis:// does not" in str(await refusal(f"rediss://{address}"))


async def test_a_certificate_that_is_not_trusted(tls: ssl.SSLContext) -> None:
    server, address = await served(hang_up, tls)
    async with server:
        assert "is not trusted here" in str(await refusal(f"rediss://{address}"))
