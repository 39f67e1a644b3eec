"""The SQL store in an application: properties, the bean of the engine, and the commands."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dependency_injector import providers
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pyfly_session import ConfigurationError
from pyfly_session.adapters.sql import SqlSessionStore
from pyfly_session.auto_configuration import create_container, enable_sessions
from pyfly_session.auto_configuration.application import close_sessions
from pyfly_session.auto_configuration.conditions import conditions
from pyfly_session.cli.group import commands
from pyfly_session.events import SessionDestroyed
from tests.conftest import Clock
from tests.sql.conftest import DATABASES
from tests.support.cases import for_each

pytestmark = pytest.mark.anyio


def tree(url: str, **sql: Any) -> dict[str, Any]:
    session = {"enabled": True, "store": "sql", "fail-fast": True, "sql": {"url": url, **sql}}
    return {"pyfly": {"session": session}}


def site(config: dict[str, Any], clock: Clock | None = None, told: Any = None) -> Starlette:
    async def count(request: Request) -> PlainTextResponse:
        visits = request.state.session.update_attribute("visits", lambda visits: (visits or 0) + 1)
        return PlainTextResponse(str(visits))

    async def log_in(request: Request) -> PlainTextResponse:
        request.state.session.rotate_id()
        request.state.session.authenticate("alice")
        return PlainTextResponse("in")

    app = Starlette(routes=[Route("/", count), Route("/login", log_in)])
    container = create_container(config)
    if clock is not None:
        container.clock.override(providers.Object(clock))
    if told is not None:
        container.session_listeners.add_args(providers.Object(told.append))
    return enable_sessions(app, container)


def url_of(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}/sessions.db"


@pytest.mark.parametrize("database_url", DATABASES, indirect=True)
def test_a_login_survives_a_restart(database_url: str) -> None:
    config = tree(database_url, table="restarted", **{"create-table": True})
    with TestClient(site(config)) as browser:
        browser.get("/")
        browser.get("/login")
        cookies = dict(browser.cookies)
    with TestClient(site(config), cookies=cookies) as browser:
        assert browser.get("/").text == "2"
        container = browser.app.state.session_container  # type: ignore[attr-defined]
        sessions = browser.portal
        assert sessions is not None
        found = sessions.call(container.principal_sessions().find_by_principal, "alice")
        assert [each.attributes["visits"] for each in found] == [2]
        assert sessions.call(container.principal_sessions().end_all, "alice") == 1
        assert browser.get("/").text == "1"


def test_the_application_may_be_started_again_and_in_another_loop(tmp_path: Path) -> None:
    app = site(tree(url_of(tmp_path)))
    with TestClient(app) as browser:
        browser.get("/")
        cookies = dict(browser.cookies)
    with TestClient(app, cookies=cookies) as browser:
        assert browser.get("/").text == "2"


def test_events_tell_of_sessions_that_expired(tmp_path: Path) -> None:
    clock, told = Clock(), list[object]()
    with TestClient(site(tree(url_of(tmp_path)), clock, told)) as browser:
        browser.get("/login")
        clock.advance(1800)
        browser.cookies.clear()
        browser.get("/")
        browser.get("/")
    ended = [each for each in told if isinstance(each, SessionDestroyed)]
    assert [(each.principal, each.reason) for each in ended] == [("alice", "expired")]


async def test_an_engine_of_the_application_is_used_and_not_closed(tmp_path: Path) -> None:
    engine = create_async_engine(url_of(tmp_path))
    container = create_container(tree("sqlite+aiosqlite:////nowhere/at/all.db"))
    container.sql_engine.override(providers.Object(engine))
    store: Any = container.session_store()
    assert store.engine is engine
    await store.save("some-id", {}, 60)
    await close_sessions(container)
    assert engine.pool.checkedin() == 1
    await engine.dispose()


async def test_what_is_no_engine_is_refused_by_name() -> None:
    container = create_container(tree("sqlite+aiosqlite:///x.db"))
    container.sql_engine.override(providers.Object(object()))
    with pytest.raises(ConfigurationError, match="bean sql_engine must be an AsyncEngine"):
        container.session_store()


def test_nothing_is_built_while_another_store_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr("pyfly_session.auto_configuration.sql_engines.create_sql_engine", explode)
    container = create_container({"pyfly": {"session": {"enabled": True}}})
    container.web_filters()
    rows = {row.bean: row for row in conditions(container)}
    assert (rows["sql_engine"].choice, rows["sql_engine"].reason) == (
        "none",
        "pyfly.session.store is memory",
    )


def test_the_report_names_the_store_and_masks_the_password() -> None:
    container = create_container(tree("postgresql+asyncpg://shop:hunter2@db/shop"))
    rows = {row.bean: row for row in conditions(container)}
    assert rows["session_store"].choice == "SqlSessionStore"
    assert rows["sql_engine"].choice == "AsyncEngine"
    assert rows["sql_engine"].reason == (
        "pyfly.session.sql.url is postgresql+asyncpg://shop:***@db/shop"
    )


async def test_properties_reach_the_store(tmp_path: Path) -> None:
    more = {"create-table": False, "touch-interval": 7, "cleanup-interval": 8}
    store = create_container(tree(url_of(tmp_path), table="a.b", **more)).session_store()
    assert isinstance(store, SqlSessionStore)
    assert (str(store.table), store.creates_table, store.db_system_name) == ("a.b", False, "sqlite")


@for_each(
    ("url", "told"),
    [
        ("sqlite:///x.db", "a URL of SQLAlchemy with its asyncio driver"),
        ("postgresql+psycopg2://shop:hunter2@db/x", r"shop:\*\*\*@db/x"),
        ("nothing+known://db/x", "nothing"),
        ("sqlite+aiosqlite://", "names no file; or set pyfly.session.store to memory"),
    ],
)
async def test_a_url_that_cannot_be_is_refused_at_start(url: str, told: str) -> None:
    with pytest.raises(Exception, match=told) as caught:
        create_container(tree(url)).session_store()
    assert "hunter2" not in str(caught.value)


def run(*arguments: str, config: Path) -> Any:
    return CliRunner().invoke(commands, [*arguments, "--config", str(config), "--json"])


@pytest.fixture
def config_directory(tmp_path: Path) -> Path:
    text = json.dumps(tree(url_of(tmp_path)))
    (tmp_path / "pyfly.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def looked_at(config: Path) -> list[tuple[str, str, str]]:
    """Return level, check and message of what the doctor found out from the database."""
    output = run("doctor", config=config).stdout
    found = [
        (each["level"], each["check"], each["message"])
        for each in json.loads(output)["findings"]
        if each["key"] is None or each["check"] == "connection"
    ]
    return [each for each in found if each[1] in ("connection", "table", "store")]


def test_the_doctor_looks_at_the_table_and_has_the_store_work(config_directory: Path) -> None:
    (_, connection, _), (level, check, message) = looked_at(config_directory)
    assert (connection, level, check) == ("connection", "hint", "table")
    assert "is missing; the application creates it" in message
    with TestClient(site(tree(url_of(config_directory)))) as browser:
        browser.get("/")
    _, table, store = looked_at(config_directory)
    assert table == ("ok", "table", "the table pyfly_session is as the store needs it")
    assert store[0] in ("ok", "hint")
    assert store[1] == "store"
    database = sqlite3.connect(config_directory / "sessions.db")
    database.execute("DROP INDEX ix_pyfly_session_expires_at")
    assert looked_at(config_directory)[1][:2] == ("warning", "table")
    database.execute("ALTER TABLE pyfly_session DROP COLUMN moved_to")
    database.close()
    assert looked_at(config_directory)[1] == ("error", "table", "pyfly_session has no moved_to")


def test_the_doctor_tells_what_is_missing(tmp_path: Path) -> None:
    text = json.dumps(tree(url_of(tmp_path), **{"create-table": False}))
    (tmp_path / "pyfly.yaml").write_text(text, encoding="utf-8")
    assert looked_at(tmp_path)[1] == ("error", "table", "the table pyfly_session is missing")
    text = json.dumps(tree("postgresql+asyncpg://tests@127.0.0.1:1/nowhere"))
    (tmp_path / "pyfly.yaml").write_text(text, encoding="utf-8")
    assert looked_at(tmp_path)[0][:2] == ("error", "connection")


@pytest.mark.parametrize(
    ("database", "statement"), [("postgresql+asyncpg://", "payload BYTEA"), ("", "payload BLOB")]
)
def test_the_schema_is_printed(config_directory: Path, database: str, statement: str) -> None:
    url = ["--url", database] if database else []
    done = run("sql", "schema", *url, config=config_directory)
    statements = json.loads(done.output)["statements"]
    assert len(statements) == 2
    assert statement in statements[0]
    assert not (config_directory / "sessions.db").exists()


def test_a_database_that_is_not_known_has_no_schema(config_directory: Path) -> None:
    done = run("sql", "schema", "--url", "no+such://me:hunter2@x", config=config_directory)
    assert done.exit_code == 1
    assert "me:***@x is of no database that is known" in done.output
    assert "hunter2" not in done.output
