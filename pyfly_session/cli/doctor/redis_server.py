"""What ``doctor`` finds out from the Redis or Valkey servers, with the container's own client."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from pyfly_session import ids
from pyfly_session.adapters.redis.errors import NEEDED, UNREACHED, is_too_old
from pyfly_session.cli.doctor.findings import Finding, Level
from pyfly_session.errors import SessionStoreError, UnsupportedServerError

_OLDEST = (6, 2)
_CLOCK_TOLERANCE_SECONDS = 2.0
_SLOW_SECONDS = 0.02
_FULL = 0.9
# What is written is removed at once; this is for a doctor that is killed in between.
_PROBE_SECONDS = 30
_SLOTS = 16384
_FAILURES = (RedisError, *UNREACHED)


@dataclass(frozen=True, slots=True)
class Server:
    """One server that takes writes.

    Attributes:
        name: What findings call it.
        ask: Sends it a command.
    """

    name: str
    ask: Callable[..., Awaitable[Any]]

    async def info(self, section: str) -> dict[str, Any]:
        """Return one section of what the server tells of itself."""
        told = await self.ask("INFO", section)
        return told if isinstance(told, dict) else {}


async def check_servers(
    client: Any, store: Any, where: str, key_prefix: str, say: Callable[[str], None]
) -> list[Finding]:
    """Look at every server that takes writes, and have the store work on each.

    Args:
        client: The client of the container: standalone, Sentinel or Cluster.
        store: The `RedisSessionStore` over it.
        where: How to call the server where it is one, without credentials.
        key_prefix: What the keys of the store begin with.
        say: Is told what is being done.
    """
    say(f"Connecting to {where} …")
    try:
        servers = await _servers(client, where)
        for server in servers:
            # Whoever is refused has been answered; what matters is tried below.
            with contextlib.suppress(NoPermissionError):
                await server.ask("PING")
    except _FAILURES as error:
        return [_unreached(error, where)]
    names = ", ".join(each.name for each in servers)
    answer = "answers" if len(servers) == 1 else "answer"
    found = [Finding("ok", "connection", f"{names} {answer}")]
    for server in servers:
        say(f"Looking at {server.name} …")
        for check in (_version, _scripting, _clock, _replication, _memory, _persistence):
            found += [replace(each, server=server.name) for each in await _asked(check, server)]
    if hasattr(client, "get_primaries"):
        found += await _asked(_cluster, servers[0])
    for server in servers:
        say(f"Storing and removing a session at {server.name} …")
        probe = _probe_id(client, key_prefix, server)
        found += [replace(each, server=server.name) async for each in try_store(store, probe)]
    return found


async def _servers(client: Any, where: str) -> list[Server]:
    if not hasattr(client, "get_primaries"):
        return [Server(where, client.execute_command)]
    await client.initialize()
    return [
        Server(node.name, partial(client.execute_command, target_nodes=node))
        for node in sorted(client.get_primaries(), key=lambda each: str(each.name))
    ]


def _unreached(error: BaseException, where: str) -> Finding:
    reason = str(error) or type(error).__name__
    remedy = "start it, or correct the address in pyfly.session.redis and what is in between"
    if is_too_old(error):
        remedy = NEEDED
    elif isinstance(error, AuthenticationError) or "AUTH" in reason.upper():
        remedy = "correct user name and password, in pyfly.session.redis.url or beside it"
    elif "SSL" in reason.upper() or "CERTIFICATE" in reason.upper():
        remedy = "name the authority with ?ssl_ca_certs=FILE in pyfly.session.redis.url"
    key = "pyfly.session.redis.url"
    return Finding("error", "connection", f"{where} cannot be used: {reason}", remedy, key)


async def _asked(
    check: Callable[[Server], AsyncIterator[Finding]], server: Server
) -> list[Finding]:
    """Run a check; a server that does not tell is no reason to end the others."""
    name = check.__name__.strip("_")
    try:
        return [each async for each in check(server)]
    except _FAILURES as error:
        return [Finding("hint", name, f"could not be found out: {error}")]


async def _version(server: Server) -> AsyncIterator[Finding]:
    info = await server.info("server")
    compatible = str(info.get("redis_version", ""))
    shown = f"Redis {compatible}"
    if valkey := info.get("valkey_version"):
        shown = f"Valkey {valkey}"
    numbers = [int(each) if each.isdigit() else 0 for each in compatible.split(".")]
    if not compatible:
        yield Finding("hint", "version", "the server does not tell its version")
    elif tuple(numbers[:2]) < _OLDEST:
        yield Finding("error", "version", shown, NEEDED)
    else:
        yield Finding("ok", "version", shown)


async def _scripting(server: Server) -> AsyncIterator[Finding]:
    try:
        await server.ask("EVALSHA", "0" * 40, 0)
    except NoScriptError:
        yield Finding("ok", "scripting", "scripts can be run")
    except NoPermissionError as error:
        remedy = "allow +evalsha and +eval to the user; other commands do, with more round trips"
        yield Finding("warning", "scripting", str(error), remedy)
    except ResponseError as error:
        remedy = "none needed; other commands do the same, with more round trips"
        yield Finding("hint", "scripting", f"scripts cannot be run: {error}", remedy)


async def _clock(server: Server) -> AsyncIterator[Finding]:
    before = time.time()
    seconds, microseconds = await server.ask("TIME")
    after = time.time()
    there = int(seconds) + int(microseconds) / 1e6
    # Somewhere in between the server looked at its clock.
    difference = max(before - there, there - after, 0.0)
    sign = "behind" if there < before else "ahead of"
    if difference > _CLOCK_TOLERANCE_SECONDS:
        message = f"the server's clock is {difference:.0f} s {sign} the one here"
        remedy = "synchronise the clocks (NTP); lifetimes and logs are told by them"
        yield Finding("warning", "clock", message, remedy)
    else:
        yield Finding("ok", "clock", f"the clocks differ by less than {difference + 0.1:.1f} s")


async def _replication(server: Server) -> AsyncIterator[Finding]:
    info = await server.info("replication")
    role = info.get("role")
    if role in ("slave", "replica"):
        message, remedy = "this is a replica, and takes no writes", "use the address of its master"
        yield Finding("error", "replication", message, remedy)
    elif role == "master":
        replicas = int(info.get("connected_slaves", 0))
        yield Finding("ok", "replication", f"a master; its replicas: {replicas}")
        if not replicas:
            remedy = "Sentinel or Cluster with replicas, if sessions have to outlive a machine"
            yield Finding("hint", "replication", "no replica could take over", remedy)
        elif "min_slaves_good_slaves" not in info:
            message = "min-replicas-to-write is 0: a master that is cut off takes writes and"
            remedy = "min-replicas-to-write 1 and min-replicas-max-lag 10"
            yield Finding("hint", "replication", f"{message} loses them", remedy)


async def _memory(server: Server) -> AsyncIterator[Finding]:
    info = await server.info("memory")
    policy, limit = info.get("maxmemory_policy"), int(info.get("maxmemory", 0))
    if policy is None:
        yield Finding("hint", "memory", "the server does not tell its maxmemory-policy")
    elif policy == "noeviction":
        yield Finding("ok", "memory", "maxmemory-policy is noeviction")
    elif limit:
        # Every session has an expiry, so the volatile policies evict it as well.
        message = f"maxmemory-policy is {policy}: users are logged out when memory runs short"
        yield Finding("warning", "memory", message, "maxmemory-policy noeviction")
    else:
        message = f"maxmemory-policy is {policy}, which matters as soon as there is a maxmemory"
        yield Finding("hint", "memory", message, "maxmemory-policy noeviction")
    used = int(info.get("used_memory", 0))
    if limit and used > _FULL * limit:
        message = f"{used / limit:.0%} of maxmemory is in use"
        yield Finding("warning", "memory", message, "more memory, or a shorter pyfly.session.ttl")


async def _persistence(server: Server) -> AsyncIterator[Finding]:
    info = await server.info("persistence")
    failed = [name for name in _LAST_WRITES if info.get(name, "ok") != "ok"]
    if failed:
        message = f"{failed[0]} is {info[failed[0]]}: the server may refuse writes"
        yield Finding("error", "persistence", message, "make room on its disk; see its log")
    if int(info.get("loading", 0)):
        message = "the server is loading its data, and refuses commands"
        yield Finding("error", "persistence", message, "wait until it is ready")
    if int(info.get("aof_enabled", 0)):
        yield Finding("ok", "persistence", "appendonly is yes")
    else:
        message = "appendonly is no: a server that dies forgets what it did not save"
        remedy = "appendonly yes, if nobody may be logged out by that"
        yield Finding("hint", "persistence", message, remedy)


_LAST_WRITES = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")


async def _cluster(server: Server) -> AsyncIterator[Finding]:
    told = await server.ask("CLUSTER INFO")
    told = told if isinstance(told, dict) else {}
    state, served = told.get("cluster_state"), int(told.get("cluster_slots_ok", 0))
    level: Level = "ok" if state == "ok" and served == _SLOTS else "error"
    message = f"cluster_state is {state}, {served} of {_SLOTS} slots are served"
    yield Finding(level, "cluster", message, None if level == "ok" else "mend the cluster first")


def _probe_id(client: Any, key_prefix: str, server: Server) -> str:
    """Return a new id whose key lives on this server."""
    while True:
        probe = f"doctor-{ids.new_id()}"
        if not hasattr(client, "get_primaries"):
            return probe
        if client.get_node_from_key(key_prefix + probe).name == server.name:
            return probe


async def try_store(store: Any, probe: str) -> AsyncIterator[Finding]:
    """Have the store do what every session needs, under an id that nobody else can have."""
    first, second = (store.codec.dumps({"probe": each}) for each in ("first", "second"))
    check = "store"
    try:
        try:
            created = await store.create_if_absent(probe, first, _PROBE_SECONDS)
            began = time.perf_counter()
            # Longer, or there would be nothing to slide.
            loaded = await store.load_and_slide(probe, 2 * _PROBE_SECONDS)
            took = time.perf_counter() - began
            changed = await store.compare_and_swap(probe, first, second, _PROBE_SECONDS)
        finally:
            await store.delete_moved(probe)
        left = await store.exists(probe)
    except SessionStoreError as error:
        too_old = isinstance(error, UnsupportedServerError)
        remedy = NEEDED if too_old else _remedy(_cause(error))
        yield Finding("error", check, _cause(error), remedy)
        return
    if (created, loaded, changed, left) != (True, first, second, False):
        message = "a session that was stored did not come back as it was"
        yield Finding("error", check, message, "see whether something else uses these keys")
    elif took > _SLOW_SECONDS:
        message = f"reading a session takes {took * 1000:.0f} ms, and every request reads one"
        yield Finding("hint", check, message, "bring server and application closer together")
    else:
        message = f"a session was stored, read in {took * 1000:.1f} ms, changed and removed"
        yield Finding("ok", check, message)


def _cause(error: SessionStoreError) -> str:
    return str(error.__cause__ or error)


def _remedy(reason: str) -> str | None:
    """Return what to do about the answer of a server that refuses to work."""
    for sign, remedy in (
        (
            "permission",
            "grant +get +getrange +set +del +exists +ttl +expire +evalsha +eval on ~<key-prefix>*",
        ),
        ("OOM", "give the server more memory; it refuses writes"),
        ("READONLY", "use the address of the master"),
        ("read only replica", "use the address of the master"),
        ("MISCONF", "make room on the server's disk; it refuses writes"),
    ):
        if sign in reason:
            return remedy
    return None
