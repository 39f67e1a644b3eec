"""TLS in front of servers whose binary was built without it."""

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.topology.nodes import HOST

_HANDSHAKE = b"\x16"


def make_certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """Return the file of a certificate for loopback that vouches for itself, and its use."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sessions of a test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = directory / "certificate.pem", directory / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


class Front:
    """A port that takes TLS and, for the servers among themselves, plain connections.

    Attributes:
        encrypted: How many connections used TLS.
    """

    def __init__(self, port: int, behind: int, context: ssl.SSLContext) -> None:
        self.port = port
        self.encrypted = 0
        self._behind = behind
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Take connections until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                taken, _ = await loop.sock_accept(listener)
                task = asyncio.ensure_future(self._pass_on(taken))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass_on(self, taken: socket.socket) -> None:
        taken.setblocking(False)
        writers: list[asyncio.StreamWriter] = []
        try:
            with contextlib.suppress(OSError):
                encrypted = await _first_byte(taken) == _HANDSHAKE
                self.encrypted += encrypted
                reader, writer = await _streams(taken, self._context if encrypted else None)
                writers.append(writer)
                back, forth = await asyncio.open_connection(HOST, self._behind)
                writers.append(forth)
                pumps = [_pump(reader, forth), _pump(back, writer)]
                await asyncio.wait(
                    [asyncio.ensure_future(each) for each in pumps],
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            for each in writers:
                each.transport.abort()
            taken.close()


@contextlib.asynccontextmanager
async def front(port: int, behind: int, context: ssl.SSLContext) -> AsyncIterator[Front]:
    """Listen on a port for as long as the context lasts."""
    listener = socket.create_server((HOST, port))
    listener.setblocking(False)
    made = Front(port, behind, context)
    task = asyncio.ensure_future(made.serve(listener))
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listener.close()


async def _first_byte(taken: socket.socket) -> bytes:
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(taken, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(taken)
    return taken.recv(1, socket.MSG_PEEK)


async def _streams(
    taken: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, protocol = await loop.connect_accepted_socket(
        lambda: asyncio.StreamReaderProtocol(reader), taken, ssl=context
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
