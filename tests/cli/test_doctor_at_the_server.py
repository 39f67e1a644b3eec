"""What ``pyfly-session doctor`` finds at a server: a real one, and one that answers otherwise."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from fakeredis import FakeAsyncRedis
from redis.exceptions import NoPermissionError, ResponseError

from pyfly_session.auto_configuration import redis_clients
from tests.cli.conftest import Run, write
from tests.cli.test_doctor import findings
from tests.conftest import take_scripts_away
from tests.support.cases import for_each
from tests.support.types import Patch

PROD = """
pyfly:
  session:
    enabled: true
    store: redis
    fail-fast: true
    cookie: {secure: true}
    redis: {url: "${REDIS_URL}", connect-timeout: 0.2, timeout: 0.2, retries: 0}
"""


@pytest.fixture(autouse=True)
def prod(folder: Path) -> None:
    write(folder, pyfly=PROD)


@pytest.fixture(autouse=True)
def slow(monkeypatch: Patch) -> Callable[[float], None]:
    """Return what sets from when on a server is slow; on a busy machine none is here."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr("pyfly_session.cli.doctor.redis_server._SLOW_SECONDS", seconds)

    set_to(30)
    return set_to


@pytest.fixture
def server(valkey_url: str, monkeypatch: Patch) -> Iterator[redis.Redis]:
    """Return a client of a real, empty server that the configuration leads to."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    with redis.Redis.from_url(valkey_url) as client:
        client.flushdb()
        yield client


def by_check(run: Run, *options: str) -> dict[str, dict[str, Any]]:
    """Return the last finding of each check."""
    return {each["check"]: each for each in findings(run("doctor", "--json", *options))}


def test_a_good_server_passes_and_nothing_is_left_there(server: redis.Redis, run: Run) -> None:
    server.set("pyfly:session:somebody", "theirs")
    result = run("doctor", "--json")
    assert result.exit_code == 0
    found = {each["check"]: each for each in findings(result)}
    assert found["version"]["message"].startswith("Valkey ")
    for check in ("connection", "version", "scripting", "clock", "memory", "store"):
        assert found[check]["level"] == "ok", found[check]
    assert "changed and removed" in found["store"]["message"]
    assert server.keys() == [b"pyfly:session:somebody"]
    assert server.get("pyfly:session:somebody") == b"theirs"
    assert server.ttl("pyfly:session:somebody") == -1


def test_progress_goes_to_people_and_not_into_the_json(server: redis.Redis, run: Run) -> None:
    done = run("doctor", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["ok"] is True
    assert "Connecting to redis://127.0.0.1:" in done.stderr


@pytest.mark.parametrize("said", ["unknown command `HELLO`", "syntax error"])
def test_server_that_refuses_handshake_is_too_old(run: Run, monkeypatch: Patch, said: str) -> None:
    """Not one that is down."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    client = FakeAsyncRedis()

    async def refuse(*command: Any, **options: Any) -> Any:
        raise ResponseError(said)

    monkeypatch.setattr(client, "execute_command", refuse)
    monkeypatch.setattr(redis_clients, "create_redis_client", lambda _: (client, []))
    found = by_check(run)["connection"]
    assert (found["level"], found["remedy"]) == ("error", "Redis 6.2 or newer is needed, or Valkey")


def test_server_that_is_down_is_error_without_password(run: Run, monkeypatch: Patch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://shop:hunter2@127.0.0.1:1/0")
    result = run("doctor")
    assert result.exit_code == 1
    assert "redis://shop:***@127.0.0.1:1/0 cannot be used" in result.output
    assert "-> start it, or correct the address" in result.output
    assert "hunter2" not in result.output


@pytest.mark.parametrize("sentinel", ["", "127.0.0.1:1"])
def test_an_option_that_the_driver_refuses_is_an_error_beside_all_others(
    run: Run, monkeypatch: Patch, sentinel: str
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0?ssl_password=x")
    if sentinel:
        monkeypatch.setenv("PYFLY_SESSION_REDIS_SENTINEL_NODES", sentinel)
        monkeypatch.setenv("PYFLY_SESSION_REDIS_SENTINEL_MASTER", "shop")
    result = run("doctor", "--json")
    assert result.exit_code == 1
    [error] = findings(result, "error")
    assert error["check"] == "connection"
    assert "an option that the driver refuses" in error["message"]
    assert error["remedy"] == "correct the option, or leave it out"
    assert (error["key"], error["origin"]) == ("pyfly.session.redis.url", "config/pyfly.yaml")
    assert "cookie" in {each["check"] for each in findings(result)}
    assert "hunter2" not in result.output


def test_a_cluster_that_is_down_is_an_error(run: Run, monkeypatch: Patch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@unused")
    monkeypatch.setenv("PYFLY_SESSION_REDIS_CLUSTER_NODES", "127.0.0.1:1,127.0.0.1:2")
    result = run("doctor")
    assert result.exit_code == 1
    assert "the cluster of 127.0.0.1:1, 127.0.0.1:2 cannot be used" in result.output
    assert "hunter2" not in result.output


def test_wrong_credentials_have_remedy(server: redis.Redis, run: Run, monkeypatch: Patch) -> None:
    monkeypatch.setenv("PYFLY_SESSION_REDIS_USERNAME", "nobody")
    monkeypatch.setenv("PYFLY_SESSION_REDIS_PASSWORD", "hunter2")
    found = by_check(run)["connection"]
    assert (found["level"], found["remedy"][:25]) == ("error", "correct user name and pas")
    assert "hunter2" not in found["message"]


@contextlib.contextmanager
def user(server: Any, monkeypatch: Patch, rights: str) -> Iterator[None]:
    """Have a user of these rights, and the configuration use it."""
    monkeypatch.setenv("PYFLY_SESSION_REDIS_USERNAME", "shop")
    monkeypatch.setenv("PYFLY_SESSION_REDIS_PASSWORD", "pass")
    server.execute_command(f"ACL SETUSER shop on >pass resetkeys resetchannels -@all {rights}")
    try:
        yield
    finally:
        server.execute_command("ACL DELUSER shop")


@pytest.mark.parametrize(
    ("rights", "refused"),
    [
        ("~pyfly:session:* +@all -evalsha -eval", {"store"}),
        ("~pyfly:session:* ~{pyfly:session:*}:moved +@all -expire", {"store"}),
        ("~other:* +@all", {"store"}),
    ],
)
def test_missing_rights_are_errors(
    server: redis.Redis, run: Run, monkeypatch: Patch, rights: str, refused: set[str]
) -> None:
    with user(server, monkeypatch, rights):
        found = by_check(run)
    assert {name for name, each in found.items() if each["level"] == "error"} == refused
    assert "grant +get" in found["store"]["remedy"]


RIGHTS = (
    "~pyfly:session:* ~{pyfly:session:*}:moved"
    " +get +getrange +set +del +exists +ttl +expire +evalsha +eval"
)


def test_rights_of_store_are_enough(server: redis.Redis, run: Run, monkeypatch: Patch) -> None:
    with user(server, monkeypatch, RIGHTS):
        result = run("doctor", "--json")
    assert result.exit_code == 0
    found = {each["check"]: each for each in findings(result)}
    assert found["store"]["level"] == "ok"
    for check in ("version", "clock", "memory", "replication", "persistence"):
        assert found[check]["level"] == "hint"
        assert "could not be found out" in found[check]["message"]
    with user(server, monkeypatch, f"{RIGHTS} +ping +info +time"):
        assert "could not be found out" not in run("doctor").output


def test_a_policy_that_evicts_sessions_is_a_warning(server: redis.Redis, run: Run) -> None:
    try:
        server.config_set("maxmemory-policy", "allkeys-lru")
        assert by_check(run)["memory"]["level"] == "hint"
        server.config_set("maxmemory", "1gb")
        found = by_check(run)["memory"]
        assert (found["level"], found["remedy"]) == ("warning", "maxmemory-policy noeviction")
        assert "allkeys-lru: users are logged out" in found["message"]
        assert (run("doctor").exit_code, run("doctor", "--strict").exit_code) == (0, 1)
        server.config_set("maxmemory-policy", "volatile-ttl")
        assert by_check(run)["memory"]["level"] == "warning"
    finally:
        server.config_set("maxmemory", "0")
        server.config_set("maxmemory-policy", "noeviction")


def test_a_replica_is_an_error(server: redis.Redis, run: Run) -> None:
    server.replicaof("127.0.0.1", 1)
    try:
        result = run("doctor", "--json")
    finally:
        server.replicaof("NO", "ONE")
    errors = {each["check"]: each for each in findings(result, "error")}
    assert errors["replication"]["remedy"] == "use the address of its master"
    assert errors["store"]["remedy"] == "use the address of the master"


@pytest.fixture
def answering(server: redis.Redis, monkeypatch: Patch) -> Callable[..., None]:
    """Return a function that has the server answer some commands otherwise."""
    make = redis_clients.create_redis_client

    def answering(**answers: Any) -> None:
        def altered(properties: Any) -> Any:
            client, closers = make(properties)
            execute = client.execute_command

            async def execute_altered(*command: Any, **options: Any) -> Any:
                name = "_".join(map(str, command[: 2 if command[0] == "INFO" else 1]))
                given = answers.get(name)
                if isinstance(given, Exception):
                    raise given
                answer = await execute(*command, **options)
                return {**answer, **given} if isinstance(given, dict) else given or answer

            client.execute_command = execute_altered  # type: ignore[method-assign]
            return client, closers

        monkeypatch.setattr(redis_clients, "create_redis_client", altered)

    return answering


# A server without scripts that does not know what is used instead of them.
UNKNOWN = {
    each: ResponseError(f"unknown command '{each}'") for each in ("EVALSHA", "EVAL", "EXPIRE")
}
ODD = [
    ("version", {"INFO_server": {"redis_version": "6.0.16", "valkey_version": ""}}, "error", "6.2"),
    ("version", {"INFO_server": {"redis_version": ""}}, "hint", None),
    ("clock", {"TIME": (1, 0)}, "warning", "synchronise"),
    ("clock", {"TIME": (4_000_000_000, 0)}, "warning", "synchronise"),
    ("replication", {"INFO_replication": {"connected_slaves": 1}}, "hint", "min-replicas"),
    (
        "replication", {"INFO_replication": {"connected_slaves": 1, "min_slaves_good_slaves": 1}},
        "ok", None,
    ),
    ("memory", {"INFO_memory": {"maxmemory": 100, "used_memory": 95}}, "warning", "more memory"),
    ("persistence", {"INFO_persistence": {"aof_enabled": 1}}, "ok", None),
    ("scripting", {"EVALSHA": NoPermissionError("no permission")}, "warning", "+evalsha"),
    ("store", UNKNOWN, "error", "6.2"),
    ("store", {"EVALSHA": ResponseError("OOM command not allowed")}, "error", "more memory"),
    ("store", {"EVALSHA": ResponseError("MISCONF Errors writing")}, "error", "disk"),
    ("store", {"EXISTS": 1}, "error", "something else"),
]  # fmt: skip


@for_each(("check", "answers", "level", "remedy"), ODD)
def test_what_a_server_tells_is_judged(
    run: Run, answering: Callable[..., None], check: str, answers: dict[str, Any], level: str,
    remedy: str | None,
) -> None:  # fmt: skip
    answering(**answers)
    found = by_check(run)[check]
    assert found["level"] == level
    assert (remedy or "") in (found["remedy"] or "")


@for_each("sign", ["rdb_last_bgsave_status", "aof_last_write_status"])
def test_server_not_saving_is_error(run: Run, answering: Callable[..., None], sign: str) -> None:
    answering(INFO_persistence={sign: "err", "loading": 1})
    messages = [each["message"] for each in findings(run("doctor", "--json"), "error")]
    assert messages[0].startswith(f"{sign} is err")
    assert messages[1].startswith("the server is loading")


@pytest.mark.usefixtures("server")
def test_a_server_that_is_far_away_is_a_hint(run: Run, slow: Callable[[float], None]) -> None:
    slow(0)
    [found] = [
        each for each in findings(run("doctor", "--json"), "hint") if "reading" in each["message"]
    ]
    assert "every request reads one" in found["message"]
    assert found["remedy"] == "bring server and application closer together"


def test_a_probe_that_fails_half_way_is_removed(
    server: redis.Redis, run: Run, answering: Callable[..., None]
) -> None:
    answering(**UNKNOWN)
    assert (run("doctor").exit_code, server.keys()) == (1, [])


def test_a_server_without_scripts_is_used_without_them(run: Run, monkeypatch: Patch) -> None:
    def fake(properties: Any) -> Any:
        client = FakeAsyncRedis()
        take_scripts_away(client)
        return client, [client.aclose]

    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(redis_clients, "create_redis_client", fake)
    found = by_check(run)
    assert (found["scripting"]["level"], found["store"]["level"]) == ("hint", "ok")


def test_endless_server_is_given_up(run: Run, server: redis.Redis, monkeypatch: Patch) -> None:
    monkeypatch.setattr("pyfly_session.cli.doctor.examination._PATIENCE_SECONDS", 0)
    found = by_check(run)["connection"]
    assert found["level"] == "error"
    assert "did not answer everything within 0 seconds" in found["message"]
