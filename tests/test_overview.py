"""The overview over every bundled store, and over sessions that a scan gives only in part."""

from typing import Any

import pytest
from cryptography.fernet import Fernet

from pyfly_session import EncryptedSessionCodec, HashedIdStore
from pyfly_session.adapters.memory import InMemorySessionStore
from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.core.overview import SessionOverview, SessionPage
from pyfly_session.core.repository import SessionRepository
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.errors import SessionStoreUnavailableError
from pyfly_session.ports import SCAN_HEAD
from tests.conftest import Clock


async def log_in(repository: SessionRepository, name: str, **attributes: Any) -> str:
    session = repository.create()
    session.authenticate(name)
    for key, value in attributes.items():
        session.set_attribute(key, value)
    await repository.commit(session)
    return session.id


async def page_of(store: CapableStore, clock: Clock, **options: Any) -> SessionPage:
    lifetime = options.pop("max_lifetime", None)
    overview = SessionOverview(store, idle=1800, max_lifetime=lifetime, clock=clock)
    page = await overview.page(**options)
    assert page is not None
    return page


@pytest.mark.parametrize("kind", ["plain", "encrypted"])
@pytest.mark.parametrize("size", [10, 2 * SCAN_HEAD])
@pytest.mark.parametrize("hashed", [False, True])
async def test_whose_a_session_is_is_known_however_it_is_stored(
    clock: Clock, kind: str, size: int, hashed: bool
) -> None:
    codec = EncryptedSessionCodec([Fernet.generate_key()]) if kind == "encrypted" else DEFAULT_CODEC
    store = InMemorySessionStore(codec=codec, clock=clock)
    repository = SessionRepository(store, hash_ids=hashed, clock=clock)
    # A front of a session is not to be told by a part of its attributes.
    forged = {"_principal": "mallory", "text": '{"_principal":"mallory"', "x": "x" * size}
    mine = await log_in(repository, 'al"ice', a=forged)
    await log_in(repository, "bob", a=forged)
    visitor = repository.create()
    visitor.set_attribute("a", forged)
    await repository.commit(visitor)

    page = await page_of(repository.capable_store, clock, prefix='al"')
    capable = HashedIdStore(store) if hashed else CapableStore(store)
    assert [each.session_id for each in page.sessions] == [capable.key_of(mine)]
    assert (page.total, page.logged_in, page.matching) == (3, 2, 1)
    assert page.sessions[0].size == len(await _payload(capable, mine))


async def _payload(store: CapableStore, session_id: str) -> bytes:
    found = await store.load_and_slide(session_id, 1)
    assert isinstance(found, bytes)
    return found


async def test_what_is_no_session_and_what_has_outlived_its_time_is_left_out(clock: Clock) -> None:
    store = InMemorySessionStore(clock=clock)
    repository = SessionRepository(store, clock=clock)
    await log_in(repository, "alice")
    for n, value in enumerate((b"\x80abc", b"[]", b'{"_principal":7}', b"{" * 3000)):
        await store.create_if_absent(f"{n}" * 32, value, 60)
    clock.advance(100)
    assert (await page_of(repository.capable_store, clock, visitors=True)).total == 1
    page = await page_of(repository.capable_store, clock, max_lifetime=101)
    assert [each.ends_at for each in page.sessions] == [clock() + 1]
    assert (await page_of(repository.capable_store, clock, max_lifetime=100)).total == 0


async def test_no_store_is_looked_at_for_longer_than_there_is_patience(clock: Clock) -> None:
    class Endless(InMemorySessionStore):
        async def scan_sessions(self) -> Any:
            while True:
                async for step in super().scan_sessions():
                    yield step

    repository = SessionRepository(Endless(clock=clock), clock=clock)
    await log_in(repository, "alice")
    page = await page_of(repository.capable_store, clock, patience=0.01)
    assert (len(page.sessions), page.complete, page.problem) == (1, False, None)


async def test_a_store_that_fails_on_the_way_tells_what_it_found(clock: Clock) -> None:
    class Half(InMemorySessionStore):
        async def scan_sessions(self) -> Any:
            async for step in super().scan_sessions():
                yield step
            raise SessionStoreUnavailableError("it went away", operation="scan")

    repository = SessionRepository(Half(clock=clock), clock=clock)
    await log_in(repository, "alice")
    page = await page_of(repository.capable_store, clock)
    assert (len(page.sessions), page.complete, page.problem) == (1, False, "it went away")
