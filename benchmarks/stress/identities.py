"""Who may have which session, where others know its id, too: the rules of ``explanation/identity``.

Somebody has planted the id in the user's browser, or the browser itself sends more with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.stress.races import Node, told_by
from benchmarks.stress.report import Result


async def held_race(node: Node, number: int, result: Result) -> bool:
    """Hold requests of an attacker open while the user logs in with the id that was planted."""
    user, attacker = (f"{name}.{node.worker}.{number}" for name in ("user", "attacker"))
    attacks = ["add&name=bait", "rotate&name=bait", f"enter&user={attacker}"]
    former, answers = await node.race(number, [f"enter&user={user}", *attacks[: 1 + number % 3]])
    await _expect_alone(node, user, [told_by(answers[0])], former, result)
    for each in answers[1:]:
        told = told_by(each)
        result.leaked += told is not None and (await node.seen(told))[0] == user
        result.leaked += str(told_by(answers[0])) in str(each and each.messages)
    return None not in answers


async def double_race(node: Node, number: int, result: Result) -> bool:
    """Press the login button twice or three times: one session, and one answer with its cookie."""
    user = f"user.{node.worker}.{number}"
    former, answers = await node.race(number, [f"enter&user={user}"] * (2 + number % 2))
    told = [each for each in map(told_by, answers) if each is not None]
    await _expect_alone(node, user, told, former, result)
    result.lost += bool(told) and "first" not in await node.stored(told[0])
    return None not in answers


async def late_race(node: Node, number: int, result: Result) -> bool:
    """Let a page's requests come to their end, and new ones come, when its user has logged in."""
    user = f"user.{node.worker}.{number}"
    actions = [f"enter&user={user}", "add&name=slow", "rotate&name=slow", "read"]
    former, answers = await node.race(number, actions, in_order=True)
    polls = [await node.ask(f"/{each}", former) for each in ("add?name=poll", "read", "rotate")]
    # An answer with a cookie would take the place of the login's, or remove it.
    result.lost += sum(each is not None and bool(each.all("set-cookie")) for each in answers[1:])
    result.lost += sum(bool(each.all("set-cookie")) for each in polls)
    told = told_by(answers[0])
    await _expect_alone(node, user, [told], former, result)
    result.leaked += told is not None and "poll" in await node.stored(told)
    return None not in answers


async def _expect_alone(
    node: Node, user: str, told: Sequence[str | None], former: str, result: Result
) -> None:
    """Count it if these are not one id, for which the user is logged in, or the former lives."""
    seen = await asyncio.gather(*(node.seen(each) for each in told if each is not None))
    logged_in = sum(who == user for who, _ in seen)
    result.lost += logged_in == 0
    result.revived += max(0, len(seen) - 1)
    result.revived += await node.seen(former) != (None, {})
