"""A master that was frozen does not know that another has taken over; it serves nobody."""

import asyncio
from typing import Any

import pytest

from tests.faults.waiting import eventually
from tests.topology.conftest import OpenShop
from tests.topology.nodes import wait_until
from tests.topology.sentinels import Watched
from tests.topology.shop import IMPATIENT


@pytest.mark.parametrize("reader", ["idle", "fresh"])
async def test_master_that_wakes_up_serves_no_ended_session(
    open_shop: OpenShop, watched: Watched, sentinel_properties: dict[str, Any], reader: str
) -> None:
    """A process with idle connections to it asks the Sentinels before it uses one."""
    sentinel_properties |= IMPATIENT
    idle, other = open_shop(sentinel_properties), open_shop(sentinel_properties)
    alice = await other.visitor(user="alice")
    late = (idle if reader == "idle" else open_shop(sentinel_properties)).browser(alice.cookie)
    if reader == "idle":
        assert (await late.get("/read")).text == '{"user":"alice"}'
    former, next_master = watched.master(), watched.other()
    former.freeze()
    try:
        await asyncio.to_thread(
            wait_until, lambda: next_master.info("replication")["role"] == "master", "it took over"
        )

        async def logged_out() -> bool:
            return (await alice.get("/logout")).status == 200

        await eventually(logged_out)
    finally:
        former.thaw()
    assert (await late.get("/read")).text == "{}"
    # And what is written there is not lost when the former master becomes a replica.
    written = await idle.visitor(user="bob")
    await asyncio.to_thread(watched.settle)
    assert (await written.get("/read")).text == '{"user":"bob"}'
