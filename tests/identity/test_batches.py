"""Changes of one session that are stored together count as if they had come one by one."""

import asyncio

from pyfly_session import SessionRepository, SessionStoreError
from pyfly_session.adapters.memory import InMemorySessionStore
from tests.identity.conftest import MakeSite
from tests.identity.site import Picture, Process
from tests.identity.watched import Call, WatchedStore
from tests.support.cases import for_each
from tests.web.driver import Answer


class Doorstep:
    """Stops the first call that stores a session until the test lets it go on."""

    def __init__(self, watch: WatchedStore) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.calls = 0
        self._under_way = 0
        watch.before, watch.after = self._wait, self._done

    async def quiet(self) -> None:
        """Wait until nobody awaits the store but the one that was stopped."""
        await self.reached.wait()
        ticks = 0
        while ticks < 50:
            await asyncio.sleep(0)
            ticks = 0 if self._under_way > 1 else ticks + 1

    async def _wait(self, call: Call) -> None:
        self._under_way += 1
        if call.stores_a_session:
            self.calls += 1
            self.reached.set()
            await self.opened.wait()

    async def _done(self, call: Call) -> None:
        self._under_way -= 1


async def stored_together(process: Process, cookie: str, paths: list[str]) -> list[Answer]:
    """Send requests of one session; while the first is being stored, the others come to wait."""
    held = [await process.begin(path, cookie) for path in paths]
    door = Doorstep(process.watch)
    for each in held:
        each.let_go()
        await door.quiet()
    door.opened.set()
    answers = [await each.finish() for each in held]
    process.watch.recover()
    assert door.calls == 2, "the others were not stored as one"
    return answers


@for_each(("path", "user"), [("/clear", None), ("/hand_over?user=bob", "bob")])
async def test_write_behind_a_change_of_owner_is_dropped(
    make_native_site: MakeSite, path: str, user: str | None
) -> None:
    """Alice's session becomes nobody's, or bob's, and her slow write is stored with that."""
    site = await make_native_site(watched=True)
    alice = (await site.here.ask("/enter?user=alice")).session_id
    paths = ["/write?note=first", path, "/write?secret=hers"]
    answers = await stored_together(site.here, alice, paths)
    assert ([each.status for each in answers], answers[2].cookie()) == ([200, 200, 200], None)
    assert await site.here.opens(alice) == Picture(user, False, {})
    carol = (await site.here.ask("/enter?user=carol", alice)).session_id
    assert await site.here.opens(carol) == Picture("carol", False, {})


async def test_writes_of_one_owner_are_all_kept(make_native_site: MakeSite) -> None:
    """What waits for the same user's session is stored with it, in its order."""
    site = await make_native_site(watched=True)
    alice = (await site.here.ask("/enter?user=alice")).session_id
    paths = ["/write?a=1", "/write?b=1&c=1", "/write?c=2"]
    await stored_together(site.here, alice, paths)
    kept = {"a": "1", "b": "1", "c": "2"}
    assert await site.here.opens(alice) == Picture("alice", False, kept)


async def test_requests_that_fail_together_have_an_error_each() -> None:
    """An error that several requests raise would collect the tracebacks of all of them."""
    watch = WatchedStore(InMemorySessionStore())
    repository = SessionRepository(watch.store)
    first = repository.create()
    await repository.commit(first)
    sessions = [await repository.load(first.id) for _ in range(4)]
    door = Doorstep(watch)
    commits = []
    for number, session in enumerate(sessions):
        assert session is not None
        session.set_attribute(f"a{number}", 1)
        commits.append(asyncio.ensure_future(repository.commit(session)))
        await door.quiet()
    watch.fail()
    door.opened.set()
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    errors = [each for each in outcomes if isinstance(each, SessionStoreError)]
    assert len(errors) == 3, outcomes
    assert len({id(each) for each in errors}) == 3
    assert all(str(each) == "the server is gone" for each in errors)
