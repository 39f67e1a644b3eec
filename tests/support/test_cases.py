"""`for_each` tries every case, and says which one failed."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cases import for_each


def test_every_pair_is_tried_and_the_failing_one_is_told() -> None:
    tried = []

    @for_each("number", [1, 2])
    @for_each(("word", "other"), [("a", "b"), ("c", "d")])
    def test(fixture: str, number: int, word: str, other: str) -> None:
        tried.append((fixture, number, word, other))
        assert (number, word) != (2, "c")

    assert list(inspect.signature(test).parameters) == ["fixture"]
    run: Callable[..., Any] = test
    with pytest.raises(AssertionError) as raised:
        run(fixture="f")
    assert tried == [("f", n, *words) for n in (1, 2) for words in ("ab", "cd")]
    assert "the case: {'number': 2}" in raised.value.__notes__


def test_coroutines_are_awaited() -> None:
    tried = []

    @for_each("number", [1, 2])
    async def test(number: int) -> None:
        await asyncio.sleep(0)
        tried.append(number)

    run: Callable[..., Any] = test
    asyncio.run(run())
    assert tried == [1, 2]


def test_a_case_is_not_skipped() -> None:
    @for_each("number", [1, 2])
    def test(number: int) -> None:
        pytest.skip("not here")

    run: Callable[..., Any] = test
    with pytest.raises(AssertionError, match="would be skipped, too"):
        run()


def test_no_case_at_all_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="a test without cases"):
        for_each("number", [])
