"""`SessionWriter`: stores changes of sessions that exist, merged onto what others have stored."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from pyfly_session import ids
from pyfly_session.core.change import Change, Stored
from pyfly_session.core.codec import Parts
from pyfly_session.core.merge import Outcome, Verdict, assembled, forked, verdict
from pyfly_session.core.metadata import VERSION, new_version
from pyfly_session.core.session import HttpSession
from pyfly_session.core.store_capabilities import CapableStore
from pyfly_session.core.tasks import back_off
from pyfly_session.errors import (
    SessionConflictError,
    SessionStoreError,
    SessionStoreUnavailableError,
)
from pyfly_session.ports import Moved

_logger = logging.getLogger(__name__)
_ATTEMPTS = 64
_EAGER_ATTEMPTS = 4


class SessionWriter:
    """Swaps what is stored for what it is merged with. Shared by all requests.

    While a swap of a session is under way in this process, further changes to it wait, and go as
    one. So only writers of other processes can make a swap fail; then it is tried again.

    Args:
        store: Where the sessions are.
        max_size: Largest size of an encoded session in bytes, or None.
        deadline: Seconds that a write may take in all, waiting behind other writers included.
        counts: Counts ``conflicts``, and commits that found the session ``gone`` or another's.
        clock: Unix time in seconds.
        seconds_to_live: Returns how long a session of these parts lives from now.
        remember: Takes note of an id that was replaced.
        later: Has work done without the request waiting for it.
    """

    def __init__(
        self,
        store: CapableStore,
        *,
        max_size: int | None,
        deadline: float | None,
        counts: Counter[str],
        clock: Callable[[], float],
        seconds_to_live: Callable[[Parts], int],
        remember: Callable[[str], None],
        later: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._store = store
        self._codec = store.codec
        self._max_size = max_size
        self._deadline = deadline
        self._counts = counts
        self._clock = clock
        self._seconds_to_live = seconds_to_live
        self._remember = remember
        self._later = later
        # What waits for a swap of its session, by event loop and id.
        self._writing: dict[tuple[int, str], list[_Writer]] = {}

    async def write(self, session: HttpSession, change: Change, stored: Stored) -> Outcome:
        """Store a change of a session that exists, together with others that wait for that.

        While a swap of a session is under way, further changes to it wait, and go as one. So
        only writers of other processes can make a swap fail.
        """
        loop = asyncio.get_running_loop()
        key = id(loop), stored.id
        waiting = self._writing.get(key)
        if waiting is not None or change.updates:
            return await self._write_with_others(session, change, stored, key)
        waiting = self._writing[key] = []
        latest, since = stored, loop.time()
        try:
            if change.is_plain and session.seen is stored:
                # What most writes come to: nobody else has written since the session was loaded.
                parts = change.applied_to(stored.taken_apart(self._codec), self._codec)
                value = assembled(parts, stored.fragments, self._codec, self._max_size)
                ttl = self._seconds_to_live(parts) if session.slides else self._keep(parts)
                # Not within the deadline of waiting: here only the store's own counts.
                found = await self._store.compare_and_swap(stored.id, stored.payload, value, ttl)
                if found == value:
                    latest = Stored(stored.id, value)
                    session.committed(latest, change, alone=True)
                    return Outcome.MOVED if session.moved else Outcome.STORED
                async with self._in_time(since):
                    met = await self._met(found, stored, None)
                if met is None:
                    return self._gone(session)
                latest = met
            writer = _Writer(session, change)
            left = _ATTEMPTS - (latest is not stored)
            async with self._in_time(since) as limit:
                latest = await self._swap([writer], latest, limit, attempts=left)
        finally:
            if waiting:
                self._later(self._serve(key, waiting, latest))
            else:
                del self._writing[key]
        return writer.result()

    async def _write_with_others(
        self, session: HttpSession, change: Change, stored: Stored, key: tuple[int, str]
    ) -> Outcome:
        """Have a change stored by a task, which goes on if the request is cancelled.

        A function that ran on a stored value must not run again. Only a change of id that was not
        begun does not go on.
        """
        writer, outer = _Writer(session, change), session.commit_under_way
        done = writer.done = asyncio.get_running_loop().create_future()
        session.commit_under_way = outer or done
        waiting = self._writing.get(key)
        if waiting is None:
            waiting = self._writing[key] = [writer]
            self._later(self._serve(key, waiting, stored))
        else:
            waiting.append(writer)
        try:
            async with self._in_time(writer.since):
                await asyncio.wait({done})
        except (SessionStoreUnavailableError, asyncio.CancelledError) as error:
            is_late = not isinstance(error, asyncio.CancelledError)
            if writer in waiting and (is_late or change.new_id):
                waiting.remove(writer)
                session.commit_under_way = outer
                raise
            if not change.new_id:
                raise
            # It may be done by now, which is going to be known.
            await asyncio.wait({done})
        session.commit_under_way = outer
        return writer.result()

    @contextlib.asynccontextmanager
    async def _in_time(self, since: float) -> AsyncGenerator[asyncio.Timeout]:
        """Give up a part of a write that began then when the deadline is over."""
        end = None if self._deadline is None else since + self._deadline
        try:
            async with asyncio.timeout_at(end) as limit:
                yield limit
        except TimeoutError as error:
            raise SessionStoreUnavailableError(
                "a change was not stored within the deadline, behind other writers of its session",
                operation="merge",
            ) from error

    async def _serve(self, key: tuple[int, str], waiting: list[_Writer], latest: Stored) -> None:
        """Store what waits, in its order, until nothing does."""
        try:
            while waiting:
                batch = [waiting.pop(0)]
                # A change of id goes alone, for the next one has to look at where it led.
                while waiting and not (batch[0].change.new_id or waiting[0].change.new_id):
                    batch.append(waiting.pop(0))
                try:
                    async with self._in_time(batch[-1].since) as limit:
                        latest = await self._swap(batch, latest, limit)
                except BaseException as error:
                    for writer in batch:
                        # One for each: raised twice, an error would refer to both requests.
                        writer.fail(copy.copy(error))
                    if not isinstance(error, Exception):
                        # The loop is being closed; nobody waits in vain.
                        for writer in waiting:
                            writer.fail(error)
                        raise
                finally:
                    for writer in batch:
                        writer.settle()
        finally:
            self._writing.pop(key, None)
            for writer in waiting:
                writer.settle()

    async def _swap(  # noqa: C901 - one loop, with every end that it can have
        self,
        writers: list[_Writer],
        current: Stored,
        limit: asyncio.Timeout,
        *,
        attempts: int = _ATTEMPTS,
    ) -> Stored:
        """Merge what the writers changed onto what is stored now; settle each of them.

        Args:
            writers: All of the same session.
            current: What is stored, as far as it is known.
            limit: When this is given up. A change of id that was begun is not, but by the store:
                it may be done already, and its client would never be told.
            attempts: How often it is tried.

        Returns:
            What is stored, as far as it is known.

        Raises:
            SessionStoreError: The backend failed, or other writers won every attempt.
        """
        store = self._store
        for attempt in range(_ATTEMPTS - attempts, _ATTEMPTS):
            if attempt >= _EAGER_ATTEMPTS:
                await back_off(attempt)
                # What the last attempt met is old by now, and would meet the next writer.
                current = await self.followed(current.id) or current
            parts, value = self._merged(writers, current)
            if not all(writer.merges for writer in writers):
                writers = await self._parted(writers)
                if not writers:
                    return current
            session, change = writers[0].session, writers[0].change
            if any(each.session.slides or not each.change.is_plain for each in writers):
                ttl = self._seconds_to_live(parts)
            else:
                ttl = self._keep(parts)
            if writers[0].done is not None:
                for writer in writers:
                    writer.remember(value)
            # The first change of an id wins: the next one is dropped, and its client told no id.
            new_id = change.new_id
            if (
                new_id is not None
                and session.stored is not None
                and session.stored.id == current.id
            ):
                end = limit.when()
                limit.reschedule(None)
                try:
                    found = await self._rename(current, new_id, value, ttl)
                finally:
                    limit.reschedule(end)
            else:
                new_id = None
                found = await store.compare_and_swap(current.id, current.payload, value, ttl)
            if found == value:
                alone = len(writers) == 1 and current is session.seen
                if new_id is not None:
                    self._remember(current.id)
                current = Stored(new_id or current.id, value)
                for writer in writers:
                    writer.stored(current, alone=alone)
                return current
            latest = await self._met(found, current, change.new_id)
            for writer in writers:
                if latest is None:
                    writer.outcome = self._gone(writer.session)
                else:
                    writer.resume(latest, self._clock())
            if latest is None:
                return current
            current = latest
        raise SessionConflictError(ids.mask(writers[0].session.current_id), _ATTEMPTS)

    async def _rename(
        self, current: Stored, new_id: str, value: bytes, ttl: int
    ) -> bytes | Moved | None:
        """Give a session another id; if that is cancelled, only until it is done."""
        try:
            return await self._store.rename(current.id, new_id, current.payload, value, ttl)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                raise
            found = await self.followed(current.id, new_id)
            if found is None or found.id != new_id:
                raise
            task.uncancel()
            return value if found.payload == value else Moved(new_id)

    def _keep(self, parts: Parts) -> int:
        """Return what has a swap leave the life of a session as it is, if the store can do that."""
        return 0 if self._store.keeps_life else self._seconds_to_live(parts)

    def _merged(self, writers: list[_Writer], current: Stored) -> tuple[Parts, bytes]:
        """Lay the changes over what is stored, in their order.

        Returns:
            The merged parts, and their stored form.
        """
        codec, now = self._codec, current
        before: Parts = current.taken_apart(codec)
        parts, value = before, b""
        for writer in writers:
            session, change = writer.session, writer.change
            try:
                # One of those before it may have logged somebody in or out.
                if now is not session.seen or change.principal is not None:
                    writer.verdict = verdict(session, change, now, codec)
                    writer.merges = writer.verdict is Verdict.MERGE
                    if not writer.merges:
                        continue
                laid = change.applied_to(parts, codec)
                # Of each attempt: a store may tell two values of a session apart by that alone.
                laid[VERSION] = new_version()
                value = assembled(laid, before, codec, self._max_size)
                parts, now = laid, Stored(current.id, value)
            except Exception as error:  # noqa: BLE001 - raised by its own request
                writer.fail(error)
        return parts, value

    async def _parted(self, writers: list[_Writer]) -> list[_Writer]:
        """Settle the writers whose changes do not go there; return the others."""
        for writer in writers:
            if writer.error is None and writer.verdict is Verdict.DROP:
                self._drop(writer)
            elif writer.error is None and writer.verdict is Verdict.FORK:
                await self._fork(writer)
        return [writer for writer in writers if writer.merges]

    async def _met(
        self, found: bytes | Moved | None, current: Stored, own_id: str | None
    ) -> Stored | None:
        """Return what a swap met instead of what it expected; None if the session is gone."""
        if isinstance(found, Moved):
            return await self.followed(found.new_id, own_id)
        if found is None:
            return None
        self._counts["conflicts"] += 1
        return Stored(current.id, found)

    async def followed(self, session_id: str, own_id: str | None = None) -> Stored | None:
        """Return what is stored, under whatever id the session has been given since.

        Args:
            session_id: The id to begin with.
            own_id: One that this request may have given it, in an attempt that was interrupted.
        """
        key_of = self._store.key_of
        for _ in range(_ATTEMPTS):
            if own_id is not None and key_of(session_id) == key_of(own_id):
                session_id = own_id
            payload = await self._store.load_and_slide(session_id, 0)
            if not isinstance(payload, Moved):
                return None if payload is None else Stored(session_id, payload)
            session_id = payload.new_id
        return None

    async def _fork(self, writer: _Writer) -> None:
        """Store what a login came to as a session of its own."""
        session, change = writer.session, writer.change
        try:
            parts = forked(session, change, self._codec, self._clock())
            payload = assembled(parts, {}, self._codec, self._max_size)
            stored = Stored(change.new_id or ids.new_id(), payload)
            ttl = self._seconds_to_live(parts)
            await self._store.create_if_absent(stored.id, payload, ttl)
        except Exception as error:  # noqa: BLE001 - raised by its own request
            writer.fail(error)
        else:
            session.forked(stored, change)
            writer.outcome = Outcome.FORKED

    def _drop(self, writer: _Writer) -> None:
        self._counts["dropped_changes"] += 1
        _logger.info(
            "session %s belongs to another user by now; the changes of a request were dropped",
            ids.mask(writer.session.current_id),
        )
        writer.outcome = Outcome.DROPPED

    def _gone(self, session: HttpSession) -> Outcome:
        self._counts["gone"] += 1
        _logger.info(
            "session %s ended while a request was using it; its changes were dropped",
            ids.mask(session.current_id),
        )
        return Outcome.GONE


class _Writer:
    """A request's change that waits to be stored, and what came of it."""

    # Most writers are alone, and are stored.
    done: asyncio.Future[None] | None = None
    outcome: Outcome | None = None
    error: BaseException | None = None
    verdict = Verdict.MERGE
    merges = True

    def __init__(self, session: HttpSession, change: Change) -> None:
        self.session = session
        self.change = change
        self.since = asyncio.get_running_loop().time()

    def stored(self, stored: Stored, *, alone: bool) -> None:
        """Take note that the change is in what is stored."""
        self.session.committed(stored, self.change, alone=alone)
        self.outcome = Outcome.MOVED if self.session.moved else Outcome.STORED

    def remember(self, value: bytes) -> None:
        """Take note of what is tried to be stored, should the attempt be interrupted."""
        if self.change.updates and self.session.attempt is None:
            self.session.attempt = value, self.change

    def resume(self, latest: Stored, now: float) -> None:
        """Go on from an attempt that was interrupted, if it got there: no update counts twice."""
        attempt = self.session.attempt
        self.session.attempt = None
        if attempt is not None and attempt[0] == latest.payload:
            self.session.committed(latest, attempt[1])
            self.change = self.session.change(now)

    def fail(self, error: BaseException) -> None:
        """Take note of what keeps it from being stored, unless it is."""
        if self.outcome is None:
            self.error, self.merges = error, False

    def settle(self) -> None:
        """Let the request go on."""
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    def result(self) -> Outcome:
        """Return what came of it, or raise what kept it from being stored."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                # Its traceback leads back here.
                del error
        if self.outcome is None:
            raise SessionStoreError("the write was given up at shutdown", operation="merge")
        return self.outcome
