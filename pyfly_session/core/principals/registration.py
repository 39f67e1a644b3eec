"""The commit of a session that is somebody's, as the records of its principals see it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from pyfly_session.core.metadata import (
    AUTHENTICATED_AT,
    CREATED_AT,
    MAX_INACTIVE_INTERVAL,
    PRINCIPAL,
    principal_names,
    read_metadata,
)
from pyfly_session.errors import SessionDecodingError

if TYPE_CHECKING:
    from pyfly_session.core.principals.principal_index import PrincipalIndex
    from pyfly_session.core.session import HttpSession


def changes_hands(session: HttpSession) -> bool:
    """Tell whether a commit changes what the records have to tell of a session.

    Any change of id may: another request may have logged somebody in meanwhile.
    """
    return _has_to_be_noted(session) or (
        session.rotated
        or (MAX_INACTIVE_INTERVAL in session._metadata_changed and PRINCIPAL in session._metadata)
    )


def _has_to_be_noted(session: HttpSession) -> bool:
    return PRINCIPAL in session._metadata_changed or (
        PRINCIPAL in session._metadata and (session._stored_id is None or session.rotated)
    )


def former_ids(session: HttpSession) -> list[str]:
    """Return the ids that a session had in this request, the stored one first."""
    known = (session._stored_id, session.previous_id, *session._noted.values())
    return list(dict.fromkeys(each for each in known if each))


async def note_before(index: PrincipalIndex, session: HttpSession, idle: int) -> None:
    """Note the session for each of its names, and take back what is not going to be."""
    names = principal_names(session._metadata)
    stale = [name for name in session._noted if name not in names]
    await _release(index, session, stale)
    logged_in_at = session._metadata.get(AUTHENTICATED_AT) or session._metadata[CREATED_AT]
    if not (session._noted or _has_to_be_noted(session)):
        await asyncio.gather(
            *(index.renew(name, session._id, logged_in_at, idle) for name in names)
        )
        return
    former = former_ids(session)
    missing = [name for name in names if session._noted.get(name) != session._id]
    before, session._noted = session._noted, dict.fromkeys(names, session._id)
    try:
        await asyncio.gather(
            *(
                index.register(name, session._id, logged_in_at, replaces=former, idle=idle)
                for name in missing
            )
        )
    except Exception:
        # Not of a cancellation: what it interrupted is to be taken back.
        session._noted = before
        raise


async def confirm_after(
    index: PrincipalIndex, session: HttpSession, former: str | None, idle: int, *, gone: bool
) -> bool:
    """Take note of what the commit did; False if somebody ended the session meanwhile."""
    noted, session._noted = session._noted, {}
    displaced = session._displaced - noted.keys()
    session._displaced = frozenset()
    if former is not None:
        await asyncio.gather(*(index.deregister(name, former) for name in displaced))
    stored_id = session._stored_id
    if gone or stored_id is None:
        await asyncio.gather(*(index.deregister(name, each) for name, each in noted.items()))
        return True
    confirmed = await asyncio.gather(
        *(index.confirm(name, each, stored_id, idle=idle) for name, each in noted.items())
    )
    if former is not None and stored_id != former:
        await _note_logins_of_others(index, session, stored_id, noted.keys(), idle)
    return all(confirmed)


async def _note_logins_of_others(
    index: PrincipalIndex, session: HttpSession, stored_id: str, noted: Collection[str], idle: int
) -> None:
    """Note a session for who logged in to it while this request was giving it another id."""
    if session._payload is None:
        return
    try:
        metadata = read_metadata(session._codec.split(session._payload), session._codec)
    except SessionDecodingError:
        # Somebody overwrote it with what is no session; nobody can be logged in to that.
        return
    logged_in_at = metadata.get(AUTHENTICATED_AT) or session._metadata[CREATED_AT]
    await asyncio.gather(
        *(
            index.renew(name, stored_id, logged_in_at, idle)
            for name in principal_names(metadata)
            if name not in noted
        )
    )


async def strike_out(index: PrincipalIndex, session: HttpSession, former: str | None) -> None:
    """Strike out a session that has ended under the id that it had."""
    await release(index, session)
    if former is not None:
        names = {*principal_names(session._metadata), *session._displaced}
        await asyncio.gather(*(index.deregister(name, former) for name in names))


async def release(index: PrincipalIndex, session: HttpSession) -> None:
    """Take back all notes of a session that is not going to be stored."""
    await _release(index, session, list(session._noted))


async def _release(index: PrincipalIndex, session: HttpSession, names: list[str]) -> None:
    taken = {name: session._noted[name] for name in names}
    session._noted = {n: noted for n, noted in session._noted.items() if n not in taken}
    await asyncio.gather(*(index.release(name, noted) for name, noted in taken.items()))
