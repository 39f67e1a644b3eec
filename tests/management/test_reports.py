"""Health, figures, configuration and conditions, as JSON."""

import asyncio
import json
from typing import Any

import redis
from dependency_injector import providers
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from pyfly_session.auto_configuration import SessionContainer, create_container, enable_sessions
from pyfly_session.config import load_config
from pyfly_session.errors import SessionStoreUnavailableError
from pyfly_session.management import Management
from pyfly_session.management.reports import configuration
from tests.conftest import FourVerbStore
from tests.management.conftest import OpenShop, Person, Shop
from tests.support.types import Log

SECRET = "hunter2-and-some-more"


def opened(container: Any, **options: Any) -> TestClient:
    return TestClient(Management(container, **{"guard": lambda request: True, **options}))


def served(url: str) -> TestClient:
    """Return an application over a server that stores no sessions by itself."""
    session = {"enabled": True, "store": "redis", "redis": {"url": url}, "creation": "if-required"}
    container = create_container({"pyfly": {"session": session}})
    management = Management(container, guard=lambda request: True)
    app = Starlette(routes=[Mount("/manage", management)])
    return TestClient(enable_sessions(app, container))


def over(store: Any, /, **session: Any) -> Any:
    container = create_container({"pyfly": {"session": {"enabled": True, **session}}})
    container.session_store.override(store)
    return container


class Failing(FourVerbStore):
    """A store whose reading fails as a test says."""

    def __init__(self, failure: BaseException | None) -> None:
        super().__init__()
        self.failure = failure

    async def get(self, session_id: str) -> dict[str, Any] | None:
        if self.failure is None:
            await asyncio.Event().wait()
        assert self.failure is not None
        raise self.failure


class TestHealth:
    def test_a_store_that_answers_is_up(self, shop: Shop, root: Person) -> None:
        told = root.json("/manage/health")
        assert told["status"] == "UP"
        assert told["store"] == type(shop.container.session_store()).__name__
        assert told["milliseconds"] >= 0

    def test_a_store_that_is_not_the_one_asked_for_is_told(self) -> None:
        with opened(
            create_container({"pyfly": {"session": {"enabled": True, "store": "rediss"}}})
        ) as client:
            told = client.get("/health").json()
        assert (told["status"], told["store"]) == ("UP", "InMemorySessionStore")
        assert "got 'rediss'; fell back to memory" in told["warning"]

    def test_the_store_of_the_application_is_the_one_asked_for(self) -> None:
        class Mine(SessionContainer):
            session_store = providers.Singleton(FourVerbStore)

        config = {"pyfly": {"session": {"enabled": True, "store": "rediss"}}}
        for container in (Mine(config=config), over(FourVerbStore(), store="rediss")):
            with opened(container) as client:
                told = client.get("/health").json()
            assert (told["status"], "warning" in told) == ("UP", False)

    def test_looking_leaves_nothing_in_the_store(self) -> None:
        store = FourVerbStore()
        with opened(over(store)) as client:
            assert client.get("/health").json()["status"] == "UP"
        assert store.entries == {}

    def test_a_store_that_fails_is_down_and_says_why(self) -> None:
        failure = SessionStoreUnavailableError("the session store was not reached", operation="get")
        with opened(over(Failing(failure))) as client:
            answer = client.get("/health")
        assert answer.status_code == 503
        assert answer.json() == {
            "status": "DOWN", "store": "Failing", "reason": "the session store was not reached",
        }  # fmt: skip

    def test_a_store_that_does_not_answer_is_down_at_the_deadline(self) -> None:
        with opened(over(Failing(None)), health_deadline=0.01) as client:
            answer = client.get("/health")
        assert answer.status_code == 503
        assert answer.json()["reason"] == "the store did not answer within 0.01 s"

    def test_a_store_that_is_down_is_told_beside_the_figures(self) -> None:
        with opened(over(Failing(OSError(f"password={SECRET}")))) as client:
            answer = client.get("/live")
        assert answer.status_code == 200
        assert answer.json()["health"]["reason"] == "the store raised OSError"
        assert answer.json()["counts"]["store"] == "Failing"

    def test_a_server_that_takes_no_writes_is_down(self, valkey_url: str) -> None:
        with served(valkey_url) as client, redis.Redis.from_url(valkey_url) as server:
            server.replicaof("127.0.0.1", 1)
            try:
                answer = client.get("/manage/health")
            finally:
                server.replicaof("NO", "ONE")
            again = client.get("/manage/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "DOWN")
        assert (again.status_code, again.json()["status"]) == (200, "UP")

    def test_a_dead_server_is_told_without_its_password(self) -> None:
        with served(f"redis://:{SECRET}@127.0.0.1:1") as client:
            answer = client.get("/manage/health")
            page = client.get("/manage/")
            listed = client.get("/manage/sessions?principal=alice")
        assert (answer.status_code, page.status_code, listed.status_code) == (503, 200, 503)
        assert SECRET not in answer.text + page.text + listed.text


class TestOpenHealth:
    def test_everybody_is_told_the_state_and_operators_more(self, open_shop: OpenShop) -> None:
        shop = open_shop(open_health=True)
        assert shop.visitor().json("/manage/health") == {"status": "UP"}
        assert shop.visitor().ask("HEAD", "/manage/health").status_code == 200
        assert "store" in shop.person("root").json("/manage/health")

    def test_nothing_else_is_open(self, open_shop: OpenShop) -> None:
        visitor = open_shop(open_health=True).visitor()
        for path in ("", "live", "counts", "health/", "health/../counts", "Health", "config"):
            assert visitor.get(f"/manage/{path}").status_code == 403
        assert visitor.post("/manage/health").status_code == 403

    def test_it_is_open_without_a_guard_too(self, open_shop: OpenShop) -> None:
        shop = open_shop(open_health=True, guard=None)
        assert shop.visitor().json("/manage/health") == {"status": "UP"}
        assert shop.visitor().get("/manage/counts").status_code == 404

    def test_a_prober_on_an_excluded_path_gets_no_session(
        self, open_shop: OpenShop, caplog: Log
    ) -> None:
        shop = open_shop(open_health=True, session={"exclude-patterns": ["/manage/health"]})
        prober = shop.visitor()
        # There is no request.state.session, and the guard asks for it.
        assert (prober.json("/manage/health"), prober.session_id) == ({"status": "UP"}, None)
        assert "lets nobody in" not in caplog.text
        assert shop.person("root").json("/manage/sessions?visitors=true")["total"] == 1

    def test_an_operator_sees_all_at_once_whatever_is_excluded(self, open_shop: OpenShop) -> None:
        shop = open_shop(open_health=True, session={"exclude-patterns": ["/manage/health"]})
        told = shop.person("root").json("/manage/live")
        assert (told["health"]["status"], told["counts"]["dropped"]) == ("UP", 0)
        assert told["health"]["milliseconds"] >= 0

    def test_a_prober_learns_that_the_store_is_down_and_no_more(self) -> None:
        container = over(Failing(OSError("no")))
        with opened(container, open_health=True, guard=None) as client:
            answer = client.get("/health")
        assert (answer.status_code, answer.json()) == (503, {"status": "DOWN"})


def test_figures_are_those_of_this_moment(shop: Shop, root: Person) -> None:
    before = root.json("/manage/counts")
    assert {"unreadable", "conflicts", "gone", "unavailable"} <= set(before["events"])
    alice = shop.person("alice")
    root.delete("/manage/sessions?principal=alice")
    assert alice.who() == "nobody"
    assert root.json("/manage/counts")["events"]["ended"] == before["events"]["ended"] + 1
    if before["store"] == "InMemorySessionStore":
        assert before["dropped"] == 0


def test_the_configuration_tells_where_values_come_from(tmp_path: Any) -> None:
    text = {"pyfly": {"session": {"enabled": True, "encryption": {"keys": [SECRET]}}}}
    (tmp_path / "pyfly.yaml").write_text(json.dumps(text), "utf-8")
    environ = {"PYFLY_SESSION_REDIS_URL": f"redis://:{SECRET}@redis.example:6379/0"}
    container = create_container(load_config(tmp_path, environ=environ))
    with opened(container) as client:
        answer, page = client.get("/config"), client.get("/conditions")
    rows = {row["key"]: row for row in answer.json()["properties"]}
    assert rows["pyfly.session.enabled"]["origin"] == (tmp_path / "pyfly.yaml").as_posix()
    assert rows["pyfly.session.ttl"] == {
        "key": "pyfly.session.ttl", "value": 1800, "origin": "default",
    }  # fmt: skip
    assert rows["pyfly.session.redis.url"]["value"] == "redis://:***@redis.example:6379/0"
    assert rows["pyfly.session.redis.url"]["origin"].endswith("PYFLY_SESSION_REDIS_URL")
    assert SECRET not in answer.text + page.text


def test_what_was_set_in_python_is_not_called_a_default(memory_shop: Shop) -> None:
    rows = memory_shop.person("root").json("/manage/config")["properties"]
    origins = {row["key"]: row["origin"] for row in rows}
    assert origins["pyfly.session.enabled"] == "application"
    assert origins["pyfly.session.store"] == "default"


def test_what_a_registration_leaves_out_is_told_as_default() -> None:
    client = {"registrations": {"green": {"client-id": "shop", "issuer-uri": "https://green.test"}}}
    container = create_container({"pyfly": {"security": {"oauth2": {"client": client}}}})
    prefix = "pyfly.security.oauth2.client.registrations.green."
    origins = {
        each["key"].removeprefix(prefix): each["origin"] for each in configuration(container)
    }
    assert (origins["client-id"], origins["use-pkce"]) == ("application", "default")


def test_conditions_tell_which_bean_was_chosen_and_why(memory_shop: Shop) -> None:
    rows = memory_shop.person("root").json("/manage/conditions")["beans"]
    beans = {row["bean"]: row for row in rows}
    assert beans["session_store"]["choice"] == "InMemorySessionStore"
    assert "pyfly.session.store" in beans["session_store"]["reason"]


def test_an_override_holds_from_the_next_request_on(memory_shop: Shop) -> None:
    root = memory_shop.person("root")
    store = FourVerbStore()
    with opened(memory_shop.container) as client:
        assert client.get("/counts").json()["store"] == "InMemorySessionStore"
        with memory_shop.container.session_store.override(store):
            assert client.get("/counts").json()["store"] == "FourVerbStore"
    assert root.who() == "root"


def test_the_page_says_what_is_wrong_with_what_it_was_asked_for() -> None:
    with opened(create_container({"pyfly": {"session": {"enabled": True}}})) as client:
        answer = client.get("/?page=many")
    assert answer.status_code == 200
    assert "page must be a number" in answer.text
