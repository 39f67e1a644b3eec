"""What OpenTelemetry is told, as its SDK's exporters see it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest
from dependency_injector import providers
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode, get_current_span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from pyfly_session import (
    ConfigurationError,
    SecurityContext,
    SessionFilter,
    SessionRepository,
    SessionStore,
    SessionStoreError,
    WebFilterChainMiddleware,
    ids,
)
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.auto_configuration import SessionContainer, create_container, enable_sessions
from pyfly_session.observability import ObservedSessionRepository, Telemetry, system_of
from pyfly_session.ports import Moved
from pyfly_session.security import login
from pyfly_session.web import SessionHeader
from tests.conftest import Clock, FourVerbStore
from tests.support.types import Patch

UNKNOWN = "f" * 32


class Observer:
    """Reads what was exported."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader])
        self.telemetry = Telemetry(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider
        )

    def close(self) -> None:
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def operations(self) -> list[str]:
        return [span.name for span in self.spans]

    def metrics(self) -> dict[str, Any]:
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def counted(self, name: str) -> dict[str, int]:
        """Return the values of a counter by their only attribute, or by none."""
        metric = self.metrics().get(name)
        points = metric.data.data_points if metric else []
        return {str(next(iter(point.attributes.values()), "")): point.value for point in points}


@pytest.fixture
def observer() -> Any:
    observer = Observer()
    yield observer
    observer.close()


def make_container(observer: Observer | None = None, **session: Any) -> Any:
    session = {"enabled": True, "observability": {"enabled": True}, **session}
    container = create_container({"pyfly": {"session": session}})
    if observer is not None:
        container.telemetry.override(providers.Object(observer.telemetry))
    return container


async def add(request: Request) -> Response:
    session = request.state.session
    session.set_attribute("cart", [*(session.get_attribute("cart") or []), "lamp"])
    return JSONResponse(session.get_attribute("cart"))


async def look(request: Request) -> Response:
    return JSONResponse(request.state.session.get_attribute("cart"))


async def rotate(request: Request) -> Response:
    request.state.session.rotate_id()
    return JSONResponse(None)


async def enter(request: Request) -> Response:
    await login(request, SecurityContext(user_id="alice@example.org"))
    return JSONResponse(None)


async def leave(request: Request) -> Response:
    request.state.session.invalidate()
    return JSONResponse(None)


def application(container: Any) -> Any:
    handlers = (add, look, rotate, enter, leave)
    routes = [Route(f"/{handler.__name__}", handler) for handler in handlers]
    return enable_sessions(Starlette(routes=routes), container)


@pytest.fixture
def browser_of(observer: Observer) -> Callable[..., TestClient]:
    """Return a function that makes a browser of an application with these properties."""

    def make(store: SessionStore | None = None, **session: Any) -> TestClient:
        container = make_container(observer, **session)
        if store is not None:
            container.session_store.override(providers.Object(store))
        return TestClient(application(container), raise_server_exceptions=False)

    return make


class TestSwitch:
    def test_it_is_off_unless_asked_for(self) -> None:
        container = create_container({"pyfly": {"session": {"enabled": True}}})
        assert container.telemetry() is None
        assert type(container.session_repository()) is SessionRepository
        assert [each for each in container.web_filters() if each] == [container.session_filter()]

    def test_nothing_is_counted_where_sessions_are_off(self) -> None:
        container = make_container(enabled=False)
        assert not any(container.web_filters())

    def test_an_application_without_it_does_not_load_it(self) -> None:
        code = (
            "from pyfly_session.auto_configuration import create_container; import sys;"
            "create_container({'pyfly': {'session': {'enabled': True}}}).session_filter();"
            "print('pyfly_session.observability' in sys.modules)"
        )
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
        )
        assert done.stdout.strip() == "False"

    def test_without_the_package_it_is_told_what_to_install(self, monkeypatch: Any) -> None:
        monkeypatch.setitem(sys.modules, "pyfly_session.observability", None)
        with pytest.raises(ConfigurationError, match=r"'pyfly-session\[otel\]'") as caught:
            application(make_container())
        assert caught.value.key == "pyfly.session.observability.enabled"

    def test_without_an_sdk_sessions_work_as_ever(self) -> None:
        browser = TestClient(application(make_container()))
        assert browser.get("/add").json() == ["lamp"]
        assert browser.get("/add").json() == ["lamp", "lamp"]

    def test_it_can_be_switched_in_a_running_application(self) -> None:
        container = make_container()
        browser = TestClient(application(container))
        browser.get("/add")
        container.config.pyfly.session.observability.enabled.from_value(False)
        assert type(container.session_repository()) is SessionRepository
        assert browser.get("/look").json() == ["lamp"]


class TestCounters:
    def test_loads_tell_known_ids_from_unknown(self, observer: Observer, browser_of: Any) -> None:
        browser = browser_of()
        browser.get("/add")
        assert observer.counted("pyfly.session.loads") == {}
        browser.get("/look")
        browser.get("/look")
        TestClient(browser.app, cookies={"PYFLY_SESSION": UNKNOWN}).get("/look")
        assert observer.counted("pyfly.session.loads") == {"found": 2, "absent": 1}

    def test_commits_tell_what_they_did(self, observer: Observer, browser_of: Any) -> None:
        browser = browser_of()
        for path in ("/add", "/add", "/look", "/rotate", "/leave"):
            browser.get(path)
        assert observer.counted("pyfly.session.commits") == {"created": 1, "stored": 2, "ended": 1}

    def test_what_stores_nothing_is_no_commit(self, observer: Observer, browser_of: Any) -> None:
        browser_of(creation="if-required").get("/look")
        browser = browser_of()
        browser.get("/look")
        browser.get("/look")
        assert observer.counted("pyfly.session.commits") == {"created": 1}

    def test_events_are_counts_of_repository(self, observer: Observer, browser_of: Any) -> None:
        store = InMemorySessionStore()
        browser = browser_of(store)
        for _ in range(2):
            browser.get("/add")
            store._put(browser.cookies["PYFLY_SESSION"], b"no session", 60)
            browser.get("/look")
        assert browser.app.state.session_container.session_repository().counts == {"unreadable": 2}
        assert observer.counted("pyfly.session.events") == {"unreadable": 2}

    def test_what_a_full_store_drops_is_counted(self, observer: Observer, browser_of: Any) -> None:
        browser = browser_of(memory={"max-sessions": 2})
        for _ in range(5):
            TestClient(browser.app).get("/add")
        assert observer.counted("pyfly.session.events") == {"dropped": 3}

    def test_sessions_that_make_room_are_counted(self, observer: Observer, browser_of: Any) -> None:
        first = browser_of(concurrency={"enabled": True, "max-sessions": 1})
        first.get("/enter")
        TestClient(first.app).get("/enter")
        assert observer.counted("pyfly.session.events") == {"evicted": 1}

    @pytest.mark.parametrize(
        ("headers", "properties", "malformed"),
        [
            ({"cookie": "PYFLY_SESSION=user:alice"}, {}, 1),
            ({"cookie": 'a=b; PYFLY_SESSION="<script>"'}, {}, 1),
            ({"cookie": f"PYFLY_SESSION={'x' * 129}"}, {}, 1),
            ({"cookie": f"PYFLY_SESSION={UNKNOWN}"}, {}, 0),
            ({"cookie": f"PYFLY_SESSION=:; PYFLY_SESSION={UNKNOWN}"}, {}, 0),
            ({"cookie": "MY_PYFLY_SESSION=:"}, {}, 0),
            ({"cookie": "theme=dark"}, {}, 0),
            ({}, {}, 0),
            ({"x-auth-token": "a:b"}, {"resolver": ["header"]}, 1),
            ({"x-auth-token": "a:b"}, {}, 0),
            ({"cookie": "PYFLY_SESSION=:"}, {"resolver": ["header"]}, 0),
            ({"cookie": "PYFLY_SESSION=:"}, {"exclude-patterns": ["/look"]}, 0),
        ],
    )
    def test_what_cannot_be_an_id_is_counted(
        self, observer: Observer, browser_of: Any, headers: Any, properties: Any, malformed: int
    ) -> None:
        browser_of(**properties).get("/look", headers=headers)
        counted = observer.counted("pyfly.session.ids.malformed")
        assert counted == ({"": malformed} if malformed else {})

    def test_it_is_counted_where_an_overridden_resolver_looks(self, observer: Observer) -> None:
        container = make_container(observer)
        container.session_id_resolver.override(providers.Object(SessionHeader("X-Foo")))
        browser = TestClient(application(container))
        browser.get("/look", headers={"x-foo": "not an id!"})
        browser.get("/look", headers={"cookie": "PYFLY_SESSION=:"})
        assert observer.counted("pyfly.session.ids.malformed") == {"": 1}


def test_instruments_tell_their_version(observer: Observer, browser_of: Any) -> None:
    browser_of().get("/add")
    scopes = {span.instrumentation_scope for span in observer.spans if span.instrumentation_scope}
    assert {(each.name, each.version) for each in scopes} == {
        ("pyfly_session", metadata.version("pyfly-session"))
    }


class TestStoreOperations:
    def test_each_is_client_span_by_conventions(self, observer: Observer, browser_of: Any) -> None:
        browser = browser_of()
        browser.get("/add")
        browser.get("/add")
        assert observer.operations == [
            "create_if_absent session", "load_and_slide session", "compare_and_swap session",
        ]  # fmt: skip
        for span in observer.spans:
            assert span.kind is SpanKind.CLIENT
            assert span.status.status_code is StatusCode.UNSET
            assert dict(span.attributes or {}) == {
                "db.system.name": "inmemory",
                "db.operation.name": span.name.partition(" ")[0],
                "pyfly.session.id.hash": ids.mask(browser.cookies["PYFLY_SESSION"]),
            }

    def test_they_belong_to_span_of_request(self, observer: Observer, browser_of: Any) -> None:
        tracer = observer.tracer_provider.get_tracer("the application")
        browser = browser_of()
        browser.get("/add")
        app = browser.app

        async def traced(scope: Any, receive: Any, send: Any) -> None:
            with tracer.start_as_current_span("GET /look"):
                await app(scope, receive, send)

        TestClient(traced, cookies=dict(browser.cookies)).get("/look")
        load, request = observer.spans[-2:]
        assert (load.name, request.name) == ("load_and_slide session", "GET /look")
        assert load.parent == request.context

    async def test_spans_of_a_driver_belong_to_them(self, observer: Observer) -> None:
        tracer = observer.tracer_provider.get_tracer("driver")

        class TracedStore(InMemorySessionStore):
            async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
                with tracer.start_as_current_span("GETEX"):
                    return await super().load_and_slide(session_id, ttl)

        await ObservedSessionRepository(TracedStore(), telemetry=observer.telemetry).load(UNKNOWN)
        inner, outer = observer.spans
        assert inner.parent == outer.context
        assert get_current_span() is INVALID_SPAN

    def test_their_duration_is_in_seconds(
        self, observer: Observer, browser_of: Any, monkeypatch: Patch
    ) -> None:
        # Each look at the watch is a quarter of a second after the one before.
        watch = SimpleNamespace(perf_counter=itertools.count(step=0.25).__next__)
        monkeypatch.setattr("pyfly_session.observability.time", watch)
        browser = browser_of()
        browser.get("/add")
        browser.get("/look")
        metric = observer.metrics()["pyfly.session.store.operation.duration"]
        assert metric.unit == "s"
        found = {point.attributes["db.operation.name"]: point for point in metric.data.data_points}
        assert {name: (point.count, point.sum) for name, point in found.items()} == {
            "create_if_absent": (1, 0.25),
            "load_and_slide": (1, 0.25),
        }
        assert found["load_and_slide"].explicit_bounds[0] == 0.001

    def test_failing_store_is_told_by_its_error(self, observer: Observer, browser_of: Any) -> None:
        class Dead(InMemorySessionStore):
            async def load_and_slide(self, session_id: str, ttl: int) -> bytes | Moved | None:
                raise SessionStoreError(f"GETEX {session_id}: connection refused", operation="load")

        browser = browser_of(Dead())
        answer = browser.get("/look", headers={"cookie": f"PYFLY_SESSION={UNKNOWN}"})
        assert answer.status_code == 503
        (span,) = observer.spans
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "SessionStoreError"
        assert UNKNOWN not in span.to_json()
        (point,) = observer.metrics()["pyfly.session.store.operation.duration"].data.data_points
        assert point.attributes["error.type"] == "SessionStoreError"
        assert observer.counted("pyfly.session.events") == {"unavailable": 1}

    def test_a_commit_that_fails_is_counted(self, observer: Observer, browser_of: Any) -> None:
        class Full(InMemorySessionStore):
            async def create_if_absent(self, session_id: str, value: bytes, ttl: int) -> bool:
                raise SessionStoreError("no space left", operation="create")

        assert browser_of(Full()).get("/add").status_code == 503
        assert "failed" in observer.counted("pyfly.session.commits")

    @pytest.mark.parametrize("hashed", [False, True])
    def test_no_id_or_name_is_told(self, observer: Observer, browser_of: Any, hashed: bool) -> None:
        browser = browser_of(**{"hash-ids": hashed})
        seen = []
        for path in ("/add", "/enter", "/look", "/rotate", "/leave"):
            browser.get(path)
            seen.append(browser.cookies.get("PYFLY_SESSION", UNKNOWN))
        told = "".join(span.to_json() for span in observer.spans)
        told += json.dumps([metric.to_json() for metric in observer.metrics().values()])
        assert ids.mask(seen[0]) in told
        assert len(set(seen)) == 4
        assert [each for each in (*seen, "alice", "lamp") if each in told] == []

    def test_records_of_who_has_which_sessions_are_told_apart(
        self, observer: Observer, browser_of: Any
    ) -> None:
        browser_of().get("/enter")
        assert "create_if_absent session" in observer.operations
        records = [each for each in observer.spans if each.name.endswith(" record")]
        assert records
        assert not any("pyfly.session.id.hash" in (each.attributes or {}) for each in records)

    def test_a_store_with_four_methods_is_told_by_what_is_asked_of_it(
        self, observer: Observer, browser_of: Any, clock: Clock
    ) -> None:
        browser = browser_of(FourVerbStore(clock))
        browser.get("/add")
        browser.get("/add")
        assert observer.operations[1:] == ["load_and_slide session", "compare_and_swap session"]
        assert (observer.spans[0].attributes or {})["db.system.name"] == "fourverb"

    def test_it_works_without_the_container(self, observer: Observer) -> None:
        store = InMemorySessionStore()
        repository = ObservedSessionRepository(store, telemetry=observer.telemetry, ttl=60)
        sessions = SessionFilter(store, repository=repository)
        app = WebFilterChainMiddleware(Starlette(routes=[Route("/add", add)]), [sessions])
        assert "Max-Age=60" in TestClient(app).get("/add").headers["set-cookie"]
        assert observer.operations == ["create_if_absent session"]


def test_a_store_may_say_what_it_is() -> None:
    class Files(InMemorySessionStore):
        db_system_name = "sqlite"

    class MongoStore(InMemorySessionStore):
        pass

    class Store(InMemorySessionStore):
        pass

    assert (system_of(Files()), system_of(MongoStore())) == ("sqlite", "mongo")
    assert system_of(Store()) == "store"


def test_redis_has_the_name_of_the_conventions() -> None:
    container = make_container(store="redis")
    assert isinstance(container, type(SessionContainer()))
    assert system_of(container.session_store()) == "redis"
