"""Logout at the provider: whose sessions end, whose do not, and what the provider is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from pyfly_session import SecurityContext, SessionStoreUnavailableError, login
from pyfly_session.security.oauth2.claims import alias, aliases
from pyfly_session.security.oauth2.login_notes import LoginNotes
from pyfly_session.security.oauth2.published import PAUSE
from tests.security.provider import KEYS, FakeProvider
from tests.security.shop import Shop
from tests.support.cases import for_each
from tests.web.conftest import EACH_STORE, Site
from tests.web.driver import Answer, Browser, ask

PATH = "/logout/connect/back-channel/"


class Place(Shop):
    """The shop, told by its providers who logged out there."""

    def __init__(self, site: Site, **options: Any) -> None:
        super().__init__(site, back_channel_logout=True, **options)

    async def enter(
        self, user: str = "alice", sid: str | None = None, registration: str = "green"
    ) -> Browser:
        """Log in with a browser of its own, and return it."""
        provider: FakeProvider = getattr(self, registration)
        provider.token_claims = {"sid": sid}
        self.browser = Browser(self.app)
        answer = await self.come_back(
            provider.log_in(await self.start(registration), user), registration
        )
        assert answer.status == 303, answer.text
        return self.browser

    async def is_in(self, *browsers: Browser) -> list[bool]:
        """Tell which browsers are logged in; none of them notices."""
        answers = [await ask(self.app, "/", cookie=each.cookie) for each in browsers]
        return [not answer.text.startswith("None") for answer in answers]

    async def post(self, token: str, registration: str = "green", **options: Any) -> Answer:
        """Send a logout token as a provider does."""
        return await post_form(self.app, {"logout_token": token}, registration, **options)


async def post_form(
    app: Any, form: dict[str, str], registration: str = "green", **options: Any
) -> Answer:
    headers = [("content-type", "application/x-www-form-urlencoded")]
    body = urlencode(form).encode()
    return await ask(app, PATH + registration, method="POST", headers=headers, body=body, **options)


async def test_the_session_of_one_login_at_the_provider_is_ended(site: Site) -> None:
    place = Place(site)
    at_work = await place.enter(sid="s-1")
    at_home = await place.enter(sid="s-2")
    answer = await place.post(place.green.logout_token(sub="alice", sid="s-1"))
    assert (answer.status, answer.body, answer.get("cache-control")) == (200, b"", "no-store")
    assert await place.is_in(at_work, at_home) == [False, True]


@EACH_STORE
async def test_all_sessions_of_a_user_are_ended_and_of_nobody_else(site: Site) -> None:
    place = Place(site)
    ended = [await place.enter(), await place.enter(sid="s-1"), await place.enter(sid="s-2")]
    kept = [
        await place.enter("bob", sid="s-3"),
        await place.enter("alice", sid="s-1", registration="harsh"),
    ]
    assert (await place.post(place.green.logout_token(sub="alice"))).status == 200
    assert (await place.is_in(*ended), await place.is_in(*kept)) == ([False] * 3, [True] * 2)


async def test_a_session_at_one_provider_is_not_ended_by_its_name_at_another(place: Place) -> None:
    green, harsh = await place.enter(sid="s-1"), await place.enter("bob", "s-1", "harsh")
    answer = await place.post(place.harsh.logout_token(sid="s-1"), "harsh")
    assert (answer.status, await place.is_in(green, harsh)) == (200, [True, False])


async def test_the_id_was_changed_since_the_login(site: Site) -> None:
    place = Place(site)
    browser = await place.enter(sid="s-1")
    for _ in range(2):
        await browser.get("/rotate")
    await place.post(place.green.logout_token(sid="s-1"))
    assert await place.is_in(browser) == [False]
    other = await place.enter(sid="s-2")
    await other.get("/rotate")
    await place.post(place.green.logout_token(sub="alice"))
    assert await place.is_in(other) == [False]


async def test_the_visitor_is_told_that_the_provider_ended_it(place: Place) -> None:
    browser = await place.enter(sid="s-1")
    await place.post(place.green.logout_token(sid="s-1"))
    assert (await browser.get("/why")).text == "provider"


async def test_another_process_ends_it(site: Site) -> None:
    place, elsewhere = Place(site), Place(site.another_node())
    browser = await place.enter(sid="s-1")
    assert (await elsewhere.post(place.green.logout_token(sid="s-1"))).status == 200
    assert await place.is_in(browser) == [False]


async def test_hashed_ids_are_found(site: Site) -> None:
    from pyfly_session import SessionRepository

    store = site.probe.store
    repository = SessionRepository(store, hash_ids=True, clock=site.clock)
    place = Place(site.configure(repository=repository))
    browser = await place.enter(sid="s-1")
    await place.post(place.green.logout_token(sid="s-1"))
    assert await place.is_in(browser) == [False]


async def test_the_user_of_the_application_has_another_name(site: Site) -> None:
    place = Place(site, to_context=lambda registration, claims: SecurityContext("42"))
    browser = await place.enter("alice")
    await place.post(place.green.logout_token(sub="42"))
    assert await place.is_in(browser) == [True]
    await place.post(place.green.logout_token(sub="alice"))
    assert await place.is_in(browser) == [False]


async def test_the_answer_does_not_tell_whether_there_were_sessions(place: Place) -> None:
    await place.enter(sid="s-1")
    first = await place.post(place.green.logout_token(sid="s-1"))
    second = await place.post(place.green.logout_token(sid="s-2"))
    assert first.messages == second.messages


async def test_who_logged_in_again_elsewhere_is_no_longer_former_providers(place: Place) -> None:
    browser = await place.enter(sid="s-1")
    await place.come_back(place.harsh.log_in(await place.start("harsh")), "harsh")
    await place.post(place.green.logout_token(sub="alice"))
    assert await place.is_in(browser) == [True]
    await place.post(place.harsh.logout_token(sub="alice"), "harsh")
    assert await place.is_in(browser) == [False]


async def test_only_the_id_token_names_the_session_at_the_provider(place: Place) -> None:
    place.registrations.add(place.green.registration("green", load_user_info=True))
    place.green.user_info = {"sid": "s-1"}
    browser = await place.enter(sid=None)
    await place.post(place.green.logout_token(sid="s-1"))
    assert await place.is_in(browser) == [True]


async def test_no_session_is_loaded_made_or_sent(place: Place) -> None:
    place.site.probe.calls.clear()
    browser = Browser(place.app, "a" * 32)
    assert (await place.post("no.token", cookie=browser.cookie)).get("set-cookie") is None
    assert place.site.probe.calls == []
    answer = await place.post(place.green.logout_token(sid="s-1"), cookie=browser.cookie)
    assert (answer.status, answer.get("set-cookie")) == (200, None)
    asked = {session_id.partition(":")[0] for _, session_id in place.site.probe.calls}
    assert asked == {"logout-token", "logout", "principal"}


async def test_a_logout_that_met_a_dead_store_works_when_it_is_sent_again(place: Place) -> None:
    browser = await place.enter(sid="s-1")
    token = place.green.logout_token(sid="s-1")
    probe = place.site.probe
    for number in range(100):
        # The store goes down after so many calls.
        fails_at = len(probe.calls) + number
        _fail_after(probe, fails_at)
        answer = await place.post(token)
        probe.recover()
        if answer.status == 200:
            break
        assert (answer.status, answer.get("retry-after")) == (503, "10")
        assert json.loads(answer.text)["error"] == "temporarily_unavailable"
    assert number > 3
    assert await place.is_in(browser) == [False]


def _fail_after(probe: Any, calls: int) -> None:
    class Later(frozenset[str]):
        def __contains__(self, name: object) -> bool:
            return len(probe.calls) > calls

    probe.fail(error=SessionStoreUnavailableError("down"))
    probe.down_for = Later()


async def test_keys_that_the_provider_changed_are_fetched_once_for_many(place: Place) -> None:
    browsers = [await place.enter(user) for user in ("alice", "bob", "carol")]
    place.green.key = KEYS[1]
    tokens = [place.green.logout_token(sub=user) for user in ("alice", "bob", "carol")]
    answers = await asyncio.gather(*map(place.post, tokens))
    assert [answer.status for answer in answers] == [200] * 3
    assert (await place.is_in(*browsers), place.green.requests.count("/jwks")) == ([False] * 3, 2)


async def test_strangers_cannot_have_the_keys_fetched_all_the_time(place: Place) -> None:
    def forged() -> str:
        return place.green.logout_token(key=KEYS[1], sub="alice")

    browser = await place.enter()
    assert (await place.post(forged())).status == 400
    # The provider may have changed its keys this very moment; it is to try again.
    assert [(await place.post(forged())).status for _ in range(5)] == [503] * 5
    assert place.green.requests.count("/jwks") == 2
    place.site.clock.advance(10)
    assert (await place.post(forged())).status == 400
    assert (place.green.requests.count("/jwks"), await place.is_in(browser)) == (3, [True])


async def test_a_provider_without_keys_may_try_again(place: Place) -> None:
    browser = await place.enter()
    elsewhere = Place(place.site.another_node())
    elsewhere.green.down = True
    token = place.green.logout_token(sub="alice")
    answer = await elsewhere.post(token)
    assert (answer.status, answer.get("retry-after")) == (503, "10")
    elsewhere.green.down = False
    place.site.clock.advance(PAUSE)
    assert ((await elsewhere.post(token)).status, await place.is_in(browser)) == (200, [False])


async def test_nothing_is_known_of_the_provider_unless_it_is_asked_for(site: Site) -> None:
    shop = Shop(site)
    await shop.log_in()
    stored = await site.probe.inner.get(shop.browser.cookie)
    assert "_principal_aliases" not in stored
    assert len([name for name in site.probe.new_ids if "principal:" in name]) == 0


class TestNames:
    """What a session is called cannot be taken for anything else."""

    def test_each_name_is_read_in_one_way_only(self) -> None:
        assert alias("a", "sub", "b:sid:c") != alias("a:sub:b", "sid", "c")
        assert alias("green", "sub", "x") != alias("green", "sid", "x")
        assert alias("a%3A", "sub", "x") != alias("a:", "sub", "x")

    @for_each("sid", [None, "", 7, ["s"]])
    def test_what_is_no_text_is_no_name(self, sid: Any) -> None:
        assert aliases("green", {"sub": "alice", "sid": sid}) == ["pyfly:oidc:green:sub:alice"]

    async def test_no_user_can_be_called_so(self, place: Place) -> None:
        """Who could would end, and count as their own, the sessions of somebody else."""
        name = alias("green", "sub", "alice")
        answer = await place.come_back(place.green.log_in(await place.start(), name))
        await place.require_failure(answer, "login_failed", 401)
        with pytest.raises(ValueError, match="must not begin with 'pyfly:'"):
            await login(None, SecurityContext(name))


@pytest.mark.parametrize("failures", [0, 3])
async def test_a_logout_during_a_login_ends_it_though_the_store_fails_for_a_moment(
    place: Place, site: Site, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """It comes after the first look for it, and before the session could be found."""
    looks, look = 0, LoginNotes.logged_out

    async def looked(notes: LoginNotes, names: list[str], since: float) -> list[str]:
        nonlocal looks
        looks += 1
        if 1 < looks <= 1 + failures:
            raise SessionStoreUnavailableError("the server is gone", operation="get")
        found = await look(notes, names, since)
        if looks == 1:
            site.clock.advance(1)
            assert (await place.post(place.green.logout_token(sid="s-1"))).status == 200
        return found

    monkeypatch.setattr("pyfly_session.security.oauth2.login._LOOK_SECONDS", 0)
    monkeypatch.setattr(LoginNotes, "logged_out", looked)
    browser = await place.enter(sid="s-1")
    assert (looks, await place.is_in(browser)) == (2 + failures, [False])
