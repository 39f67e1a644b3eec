"""The commit of a session that is somebody's, as the records of its principals see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyfly_session.metadata import AUTHENTICATED_AT, CREATED_AT, PRINCIPAL, principal_names

if TYPE_CHECKING:
    from pyfly_session.principal_index import PrincipalIndex
    from pyfly_session.session import HttpSession


def changes_hands(session: HttpSession) -> bool:
    """Tell whether a commit changes whose session it is, or the id under which it is noted."""
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
    former = former_ids(session)
    missing = [name for name in names if session._noted.get(name) != session._id]
    await asyncio.gather(
        *(
            index.register(name, session._id, logged_in_at, replaces=former, idle=idle)
            for name in missing
        )
    )
    session._noted = dict.fromkeys(names, session._id)


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
    return all(confirmed)


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
