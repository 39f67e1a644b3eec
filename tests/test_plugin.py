"""The fixtures for users' tests: what they give, and what they leave as it was.

Each test runs pytest as in a project of somebody else, warnings being errors there.
"""

import subprocess
import sys
from typing import Any

import pytest

# Loaded once; the runs below would import it anew, each with all that it needs.
import pyfly_session.testing.plugin  # noqa: F401
from tests.support.cases import for_each

pytest_plugins = ["pytester"]

SHOP = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.security import context_of, logout


async def add(request):
    session = request.state.session
    cart = session.get_attribute("cart") or []
    cart.append(request.path_params["item"])
    session.set_attribute("cart", cart)
    return JSONResponse(cart)


async def whoami(request):
    context = context_of(request.state.session)
    return JSONResponse([context.user_id, context.roles])


async def short(request):
    request.state.session.set_max_inactive_interval(60)
    return JSONResponse(None)


async def leave(request):
    await logout(request)
    return JSONResponse(None)


def create_app():
    return Starlette(routes=[
        Route("/add/{item}", add), Route("/short", short),
        Route("/whoami", whoami), Route("/logout", leave),
    ])


PROPERTIES = {}


def create_wired():
    session = {"enabled": True, "store": "redis", "ttl": 600, **PROPERTIES}
    return enable_sessions(create_app(), config={"pyfly": {"session": session}})


wired = create_wired()
"""

CONFTEST = """
import pytest
import shop

pytest_plugins = ["pyfly_session.testing.plugin"]


@pytest.fixture
def session_app():
    return shop.wired
"""

INI = "[pytest]\nfilterwarnings = error\nanyio_mode = auto\n"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs tests against the shop all of which have to pass."""
    # The project's modules are found again in each run.
    for name in ("shop", "conftest", "test_shop"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def run(
        tests: str, app: str = "shop.wired", shop: str = SHOP, error: str = "", **properties: Any
    ) -> None:
        shop = shop.replace("PROPERTIES = {}", f"PROPERTIES = {properties!r}")
        conftest = CONFTEST.replace("shop.wired", app)
        pytester.makefile(".ini", pytest=INI)
        pytester.makepyfile(shop=shop, conftest=conftest, test_shop=tests)
        pytester.syspathinsert()
        off = [f"-pno:{each}" for each in ("cacheprovider", "timeout", "xdist", "randomly")]
        result = pytester.runpytest_inprocess(*off)
        assert result.parseoutcomes().keys() == {"errors" if error else "passed"}
        result.stdout.fnmatch_lines([f"*{error}*"])

    return run


def test_the_application_is_asked_for(run: Any) -> None:
    tests = """
        import pytest
        from pyfly_session.testing.plugin import session_app

        def test_it(session_client):
            pass
        """
    run(tests, error="Define a fixture session_app that returns it")


@for_each("kind", ["shop.wired", "shop.create_wired()", "shop.create_app()"])
def test_a_client_keeps_its_session_on_a_store_of_its_own(run: Any, kind: str) -> None:
    tests = """
        import pytest
        from pyfly_session.adapters.memory import InMemorySessionStore

        @pytest.mark.parametrize("turn", [1, 2])
        def test_it(session_client, sessions, session_store, turn):
            assert type(session_store) is InMemorySessionStore
            assert len(session_store) == 0
            assert session_client.get("/add/lamp").json() == ["lamp"]
            assert session_client.get("/add/rope").json() == ["lamp", "rope"]
            assert len(session_store) == 1
            assert sessions.read(session_client) == {"cart": ["lamp", "rope"]}
        """
    run(tests, kind)


def test_the_container_is_as_before_afterwards(run: Any) -> None:
    tests = """
        import pytest
        import shop
        from pyfly_session.adapters.redis import RedisSessionStore

        @pytest.fixture
        def session_config():
            return {"pyfly": {"session": {"ttl": 60}}}

        def is_untouched():
            container = shop.wired.state.session_container
            return (
                type(container.session_store()) is RedisSessionStore
                and container.properties().ttl == 600
            )

        def test_before():
            assert is_untouched()

        def test_during(session_client, sessions):
            assert not is_untouched()
            assert sessions.container.properties().ttl == 60
            assert "Max-Age=60" in session_client.get("/add/lamp").headers["set-cookie"]

        def test_after():
            assert is_untouched()
        """
    run(tests)


def test_somebody_is_logged_in_without_a_password(run: Any) -> None:
    run("""
        import pytest
        from pyfly_session import SecurityContext

        def test_fixture(logged_in_client):
            assert logged_in_client.get("/whoami").json() == ["alice", []]

        def test_cart_is_kept_and_the_id_changes(session_client, sessions):
            session_client.get("/add/lamp")
            former = sessions.id_of(session_client)
            sessions.log_in(session_client, SecurityContext("bob", roles=["ADMIN"]))
            assert sessions.id_of(session_client) != former
            assert session_client.get("/whoami").json() == ["bob", ["ADMIN"]]
            assert session_client.get("/add/rope").json() == ["lamp", "rope"]
            assert sessions.read(former) is None

        def test_logout(logged_in_client, sessions):
            logged_in_client.get("/logout")
            assert sessions.id_of(logged_in_client) is None
            assert sessions.read(logged_in_client) is None
            assert logged_in_client.get("/whoami").json() == [None, []]

        class TestWhoItIsSaysAFixture:
            @pytest.fixture
            def session_user(self):
                return SecurityContext("carol", roles=["EDITOR"])

            def test_it(self, logged_in_client):
                assert logged_in_client.get("/whoami").json() == ["carol", ["EDITOR"]]
        """)


@for_each("strategy", ["evict-oldest", "reject-new"])
def test_a_login_counts_for_the_limit_of_the_user(run: Any, strategy: str) -> None:
    limit = {"enabled": True, "max-sessions": 1, "strategy": strategy}
    tests = """
        import pytest
        import shop
        from pyfly_session import TooManySessionsError
        from starlette.testclient import TestClient

        def test_it(logged_in_client, sessions):
            other = TestClient(sessions.app)
            if shop.PROPERTIES["concurrency"]["strategy"] == "reject-new":
                with pytest.raises(TooManySessionsError):
                    sessions.log_in(other, "alice")
                assert sessions.id_of(other) is None
                sessions.end(logged_in_client)
                sessions.log_in(other, "alice")
            else:
                sessions.log_in(other, "alice")
            assert logged_in_client.get("/whoami").json() == [None, []]
            assert other.get("/whoami").json() == ["alice", []]
        """
    run(tests, concurrency=limit)


def test_a_session_is_written_and_ended_from_outside(run: Any) -> None:
    run("""
        import pytest
        from pyfly_session.adapters.memory import InMemorySessionStore

        def test_begin_with_a_cart(session_client, sessions):
            session_id = sessions.write(session_client, cart=["lamp"])
            assert session_client.get("/add/rope").json() == ["lamp", "rope"]
            assert sessions.id_of(session_client) == session_id

        def test_another_request_interferes(session_client, sessions):
            session_client.get("/add/lamp")
            session_id = sessions.id_of(session_client)
            assert sessions.write(session_id, cart=[]) == session_id
            assert session_client.get("/add/rope").json() == ["rope"]

        def test_another_request_logs_out(logged_in_client, sessions):
            sessions.end(logged_in_client)
            assert logged_in_client.get("/whoami").json() == [None, []]

        def test_nobody(session_client, sessions):
            assert sessions.read(session_client) is None
            sessions.end(session_client)
            assert sessions.id_of(session_client) is None
            with pytest.raises(LookupError, match="no session with this id"):
                sessions.write("no-such-id", cart=[])
            with pytest.raises(LookupError, match="no session with this id"):
                sessions.end("no-such-id")

        async def test_coroutines_have_a_client_too(async_session_client, sessions):
            browser = async_session_client
            sessions.write(browser, cart=["lamp"])
            assert (await browser.get("/add/rope")).json() == ["lamp", "rope"]
            assert sessions.read(browser) == {"cart": ["lamp", "rope"]}
            sessions.log_in(browser, "alice")
            assert (await browser.get("/whoami")).json() == ["alice", []]
            sessions.expire()
            assert (await browser.get("/whoami")).json() == [None, []]

        class MyStore(InMemorySessionStore):
            pass

        class TestAStoreOfOnesOwn:
            @pytest.fixture
            def session_store(self, session_clock):
                return MyStore(clock=session_clock)

            def test_it_takes_the_clock(self, session_client, sessions):
                session_client.get("/add/lamp")
                assert type(sessions.container.session_store()) is MyStore
                sessions.expire()
                assert sessions.read(session_client) is None
        """)


def test_time_passes_for_store_and_filter(run: Any) -> None:
    tests = """
        def test_one_tick_before(session_client, sessions):
            session_client.get("/add/lamp")
            sessions.advance(599)
            assert session_client.get("/add/rope").json() == ["lamp", "rope"]

        def test_at_the_end_of_the_idle_time(session_client, sessions):
            session_client.get("/add/lamp")
            sessions.expire()
            assert sessions.read(session_client) is None
            assert session_client.get("/add/rope").json() == ["rope"]

        def test_reading_from_outside_is_no_access(session_client, sessions):
            session_client.get("/add/lamp")
            sessions.advance(599)
            assert sessions.read(session_client) == {"cart": ["lamp"]}
            sessions.advance(1)
            assert sessions.read(session_client) is None

        def test_an_idle_time_of_its_own(session_client, sessions):
            session_client.get("/add/lamp")
            session_client.get("/short")
            sessions.advance(59)
            sessions.write(session_client, cart=["pen"])
            sessions.advance(59)
            assert session_client.get("/add/rope").json() == ["pen", "rope"]
            sessions.advance(60)
            assert sessions.read(session_client) is None

        def test_the_absolute_lifetime(session_client, sessions):
            session_client.get("/add/lamp")
            for _ in range(2):
                sessions.advance(500)
                session_client.get("/add/lamp")
            assert len(sessions.read(session_client)["cart"]) == 3
            sessions.advance(500)
            assert session_client.get("/add/rope").json() == ["rope"]
        """
    run(tests, **{"max-lifetime": 1500})


@for_each(
    "properties",
    [
        {"cookie-name": "__Host-sid", "cookie": {"secure": True}},
        {"cookie-name": "sid", "cookie": {"path": "/add", "domain": ".shop.example"}},
        {"resolver": ["header"]},
        {"hash-ids": True},
        {"creation": "if-required"},
    ],
)
def test_a_session_is_found_however_its_id_travels(run: Any, properties: Any) -> None:
    tests = """
        def test_it(session_client, sessions):
            assert "//." not in sessions.base_url
            sessions.write(session_client, cart=["lamp"])
            assert session_client.get("/add/rope").json() == ["lamp", "rope"]
            assert sessions.read(session_client) == {"cart": ["lamp", "rope"]}
            sessions.log_in(session_client, "alice")
            assert session_client.get("/add/pen").json() == ["lamp", "rope", "pen"]
        """
    run(tests, **properties)


def test_a_websocket_has_the_session(run: Any) -> None:
    route = 'WebSocketRoute("/ws", ws), Route("/add/{item}", add)'
    shop = SHOP.replace('Route("/add/{item}", add)', route).replace(
        "async def leave",
        """
from starlette.routing import WebSocketRoute


async def ws(socket):
    await socket.accept()
    await socket.send_json(socket.state.session.get_attribute("cart"))
    await socket.close()


async def leave""",
    )
    tests = """
        def test_it(session_client, sessions):
            sessions.write(session_client, cart=["lamp"])
            with session_client.websocket_connect("/ws") as socket:
                assert socket.receive_json() == ["lamp"]
        """
    run(tests, shop=shop)


PLAIN = """

from pyfly_session.auto_configuration import create_container

container = create_container({"pyfly": {"session": {"enabled": True}}})


async def bare(scope, receive, send):
    await create_app()(scope, receive, send)


class Wrapping:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


plain = enable_sessions(bare, container)
hidden = Wrapping(plain)
"""


@for_each("app", ["bare", "Wrapping(shop.wired)", "plain", "hidden"])
def test_any_asgi_application_can_be_tested(run: Any, app: str) -> None:
    tests = """
        import pytest
        import shop

        if APP in ("plain", "hidden"):
            @pytest.fixture
            def session_container():
                return shop.container

        @pytest.mark.parametrize("turn", [1, 2])
        def test_it(session_client, sessions, turn):
            assert session_client.get("/add/lamp").json() == ["lamp"]
            assert sessions.read(session_client) == {"cart": ["lamp"]}
            sessions.log_in(session_client, "alice")
            assert session_client.get("/whoami").json() == ["alice", []]
        """
    run(tests.replace("APP", repr(app)), f"shop.{app}", shop=SHOP + PLAIN)


def test_sessions_are_encrypted_as_the_properties_say(run: Any) -> None:
    encryption = {"keys": ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]}
    tests = """
        from pyfly_session.core.encryption import EncryptedSessionCodec

        def test_it(session_client, sessions, session_store):
            assert isinstance(session_store.codec, EncryptedSessionCodec)
            session_client.get("/add/lamp")
            assert sessions.read(session_client) == {"cart": ["lamp"]}
        """
    run(tests, encryption=encryption)


def test_disabled_sessions_are_told(run: Any) -> None:
    tests = """
        import pytest

        @pytest.fixture
        def session_config():
            return {"pyfly": {"session": {"enabled": False}}}

        def test_it(session_client):
            pass
        """
    run(tests, error="pyfly.session.enabled is not true in these tests")


LIFESPAN = """
from contextlib import asynccontextmanager

events = []


@asynccontextmanager
async def lifespan(app):
    events.append("start")
    yield
    events.append("end")


def create_app"""


def test_the_lifespan_runs_with_the_client(run: Any) -> None:
    shop = SHOP.replace("return Starlette(", "return Starlette(lifespan=lifespan, ")
    shop = shop.replace("def create_app", LIFESPAN)
    tests = """
        import shop

        def test_it(session_client):
            assert shop.events == ["start"]

        def test_after():
            assert shop.events == ["start", "end"]
        """
    run(tests, shop=shop)


def test_pytest_loads_nothing_of_the_package_unless_asked_to() -> None:
    code = (
        "import pytest, sys; pytest.main(['--version']);"
        "print(sorted(name for name in sys.modules if name.startswith('pyfly_session')))"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
