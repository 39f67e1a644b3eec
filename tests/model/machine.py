"""The machine: does at random to `SessionRepository` and to the model the same, and compares."""

import asyncio
import copy
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyfly_session import HttpSession, Outcome, SessionRepository
from pyfly_session.core.metadata import MAX_INACTIVE_INTERVAL
from tests.conftest import Clock
from tests.model.schedule import SteppingStore
from tests.model.world import Visit, World

T = TypeVar("T")

NAMES = st.sampled_from(["a", "a", "b", "c"])
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)
TICK = 2**-10
# Just before and at the ends of times, and at random within them.
Act = tuple[Any, ...]
ACTS: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("assign"), NAMES, VALUES), st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("change_in_place"), NAMES, st.integers(0, 9)), st.tuples(st.just("clear")),
    st.tuples(st.just("set_idle"), st.sampled_from([None, 1, 10, 60, 500])),
    st.tuples(st.just("rotate")), st.tuples(st.just("rotate")), st.tuples(st.just("log_out")),
)  # fmt: skip
STEPS = st.sampled_from([0.05, 0.051, 1.0, 10 - TICK, 10.0, 60 - TICK, 60.0, 100.0, 300.0, 400.0])
CHOICE = st.integers(0, 5)
# Few sessions and few requests, so that they meet.
_FEW = 3


_ALIVE = {Outcome.STORED, Outcome.MOVED, Outcome.UNTOUCHED}


class Open:
    """A request that has not ended: the real session beside the model's."""

    def __init__(self, session: HttpSession, visit: Visit) -> None:
        self.session = session
        self.visit = visit

    def __repr__(self) -> str:
        return f"<request {self.visit.id[:4]}>"


class SessionMachine(RuleBasedStateMachine):
    """Any number of requests, open at once, on any number of sessions.

    Subclasses make the store. Every id that there ever was is looked up after every step.
    """

    keeps_notes = True
    expires = True
    atomic = True
    # Where time is the server's own, all times are so long that it does not matter.
    scale = 1

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.known: list[str] = []
        self.requests: list[Open] = []

    async def make_store(self) -> Any:
        """Return an empty store, made inside of the machine's event loop."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close what `make_store` opened."""

    async def count(self) -> int | None:
        """Return how many sessions the backend has, if it can tell."""
        return None

    async def seconds_left(self, key: str) -> float | None:
        """Return the time to live that the backend tells, where it counts by itself."""
        return None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(
        ttl=st.sampled_from([60, 120]),
        max_lifetime=st.sampled_from([None, None, 100, 400]),
        hash_ids=st.booleans(),
    )
    def begin(self, ttl: int, max_lifetime: int | None, hash_ids: bool) -> None:
        ttl *= self.scale
        max_lifetime = max_lifetime and max_lifetime * self.scale

        async def make() -> SteppingStore:
            self.inner = await self.make_store()
            return SteppingStore(self.inner)

        self.stepping = self.run(make())
        store = self.stepping if self.atomic else self.inner
        self.repository = SessionRepository(
            store, ttl=ttl, max_lifetime=max_lifetime, hash_ids=hash_ids, clock=self.clock
        )
        self.world = World(
            now=self.clock(), ttl=ttl, max_lifetime=max_lifetime, keeps_notes=self.keeps_notes,
            expires=self.expires,
        )  # fmt: skip
        # Two requests on one session: where everything interesting begins.
        self.visit(0, True)
        self.act_and_commit(0, [("assign", "a", [1])])
        self.visit(0, False)

    def teardown(self) -> None:
        if hasattr(self, "inner"):
            self.run(self.close())
        self.runner.close()

    # Requests begin

    @rule(which=CHOICE, first=st.booleans())
    def visit(self, which: int, first: bool) -> None:
        if first and len(self.world.alive()) < _FEW:
            session = self.repository.create()
            self.known.append(session.id)
            self.open(Open(session, Visit(session.id, self.clock(), self.clock())))
            return
        # The latest ids first: that is where something can still happen.
        session_id = self.known[-1 - which % len(self.known)]
        found, visit = self.run(self.repository.load(session_id)), self.world.load(session_id)
        if found is None or visit is None:
            assert found is None
            assert visit is None
            return
        opened = Open(found, visit)
        self.compare(opened)
        self.open(opened)

    def open(self, opened: Open) -> None:
        self.requests = [*self.requests[-_FEW:], opened]

    # Requests go on

    @precondition(lambda self: self.requests)
    @rule(which=CHOICE, act=ACTS)
    def act(self, which: int, act: Act) -> None:
        opened = self.pick(which)
        kind, *details = act
        if not opened.visit.invalidated:
            getattr(self, f"_{kind}")(opened, *details)
        self.compare(opened)

    @precondition(lambda self: self.requests)
    @rule(which=CHOICE, acts=st.lists(ACTS, min_size=1, max_size=3))
    def act_and_commit(self, which: int, acts: list[Act]) -> None:
        for act in acts:
            self.act(which, act)
        self.commit(which, True)

    def pick(self, which: int) -> Open:
        return self.requests[which % len(self.requests)]

    def _assign(self, opened: Open, name: str, value: Any) -> None:
        opened.visit.assign(name, value)
        opened.session.set_attribute(name, copy.deepcopy(value))

    def _remove(self, opened: Open, name: str) -> None:
        opened.visit.remove(name)
        opened.session.remove_attribute(name)

    def _change_in_place(self, opened: Open, name: str, item: int) -> None:
        for value in (opened.visit.live.get(name), opened.session.get_attribute(name)):
            if isinstance(value, list):
                value.append(item)
            elif isinstance(value, dict):
                value["item"] = item

    def _clear(self, opened: Open) -> None:
        opened.visit.clear()
        opened.session.clear()

    def _set_idle(self, opened: Open, seconds: int | None) -> None:
        seconds = seconds and seconds * self.scale
        opened.visit.set_idle(seconds)
        opened.session.set_max_inactive_interval(seconds)

    def _rotate(self, opened: Open) -> None:
        opened.session.rotate_id()
        opened.visit.rotate(opened.session.id)
        self.known.append(opened.session.id)

    def _log_out(self, opened: Open) -> None:
        opened.visit.invalidate()
        opened.session.invalidate()

    # Requests commit, again and again

    @precondition(lambda self: self.requests)
    @rule(which=CHOICE, create=st.booleans())
    def commit(self, which: int, create: bool) -> None:
        opened = self.pick(which)
        expected = self.world.commit(opened.visit, create=create)
        found = self.run(self.repository.commit(opened.session, create=create))
        assert found is expected, f"{found}, expected {expected}"
        self.forget_the_gone(opened, found)

    @precondition(lambda self: self.atomic and len(self.requests) > 1)
    @rule(which=CHOICE, acts=st.tuples(ACTS, ACTS), turns=st.lists(st.booleans(), max_size=8))
    def act_and_commit_two_at_once(
        self, which: int, acts: tuple[Act, Act], turns: list[bool]
    ) -> None:
        """In whatever order their calls come, it is as if one request had come after the other."""
        pair = one, other = self.pick(which), self.pick(which + 1)
        for offset, act in enumerate(acts):
            self.act(which + offset, act)
        commit = self.repository.commit
        found = self.run(self.stepping.run_both(commit(one.session), commit(other.session), turns))
        stored = self.run(self.contents())
        # The id tells the orders apart: long afterwards, the note at an earlier one is gone.
        heard = [
            (outcome, outcome in _ALIVE and self.whereabouts(stored_id, idle))
            for outcome, stored_id, idle in [
                (outcome, getattr(session.stored, "id", None), session.max_inactive_interval)
                for outcome, session in zip(found, (one.session, other.session), strict=True)
            ]
        ]
        orders = [self.in_order(one, other), self.in_order(other, one)]
        for world, visits, outcomes in orders:
            told = [
                (outcome, outcome in _ALIVE and self.whereabouts(visit.stored_id, visit.idle))
                for outcome, visit in [(outcomes[each], visits[each]) for each in pair]
            ]
            if told == heard and world.alive() == stored:
                self.world, one.visit, other.visit = world, visits[one], visits[other]
                break
        else:
            raise AssertionError(f"{heard} and {stored} come of no order: {orders}")
        self.forget_the_gone(one, found[0])
        self.forget_the_gone(other, found[1])

    def forget_the_gone(self, opened: Open, outcome: Outcome) -> None:
        """Drop a request whose session has ended: it commits no more."""
        if outcome is Outcome.GONE:
            self.requests = [each for each in self.requests if each is not opened]

    def in_order(self, *order: Open) -> tuple[World, dict[Open, Visit], dict[Open, Outcome]]:
        """Return what becomes of the world if these requests commit one after the other."""
        world, visits = copy.deepcopy((self.world, [each.visit for each in order]))
        outcomes = [world.commit(visit) for visit in visits]
        pairs = zip(order, visits, strict=True), zip(order, outcomes, strict=True)
        return world, dict(pairs[0]), dict(pairs[1])

    # Time passes, and things happen elsewhere

    @rule(seconds=STEPS)
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.world.now = self.clock()

    @precondition(lambda self: len(self.known) > _FEW)
    @rule(which=CHOICE)
    def delete_elsewhere(self, which: int) -> None:
        session_id = self.known[-1 - which % len(self.known)]
        self.run(self.inner.delete(self.key_of(session_id)))
        self.world.entries.pop(session_id, None)

    # Whatever happened

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        if hasattr(self, "inner"):
            stored, alive = self.run(self.contents()), self.world.alive()
            assert stored == alive, f"{stored}, expected {alive}"
            assert self.run(self.count()) in (None, len(alive))
            self.run(self.compare_times())

    async def contents(self) -> dict[str, Any]:
        """Return attributes and idle time of every session that there is, by its id."""
        found: dict[str, Any] = {}
        for session_id in self.known:
            data = await self.inner.get(self.key_of(session_id))
            assert await self.inner.exists(self.key_of(session_id)) is (data is not None)
            if data is not None:
                attributes = {name: data[name] for name in data if not name.startswith("_")}
                found[session_id] = (attributes, data.get(MAX_INACTIVE_INTERVAL))
        return found

    async def compare_times(self) -> None:
        for session_id, entry in self.world.entries.items():
            left = await self.seconds_left(self.key_of(session_id))
            if left is not None:
                assert entry.ttl - 30 < left <= entry.ttl

    def compare(self, opened: Open) -> None:
        """Compare what a request sees of its session."""
        session, visit = opened.session, opened.visit
        assert (session.id, session.created_at) == (visit.id, visit.created)
        assert session.invalidated == visit.invalidated
        if not visit.invalidated:
            assert {name: session.get_attribute(name) for name in session.attribute_names()} == (
                visit.live
            )
            assert session.max_inactive_interval == visit.idle

    def key_of(self, session_id: str) -> str:
        return self.repository.capable_store.key_of(session_id)

    def whereabouts(
        self, session_id: str | None, idle: int | None
    ) -> tuple[str | None, int | None]:
        """Return under which key the store has a session, and its own idle time."""
        return session_id and self.key_of(session_id), idle
