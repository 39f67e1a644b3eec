"""One test for one promise, however many cases it is tried with."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Any])


def for_each(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test with each case in turn; its error tells which one it was.

    For tests whose cases leave nothing behind for the next one: they share all fixtures, but for
    what `caplog` has, which is cleared. Where a case has to be seen, chosen or skipped on its own,
    there is `pytest.mark.parametrize`.

    Args:
        names: The arguments of a case, with commas between them.
        cases: A value each, or as many as there are names.
    """
    wanted = [each.strip() for each in names.split(",")] if isinstance(names, str) else [*names]
    rows = [(each,) if len(wanted) == 1 else each for each in cases]
    assert rows, "a test without cases would pass whatever happens"
    known = [dict(zip(wanted, row, strict=True)) for row in rows]

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def one_after_the_other(*args: Any, **fixtures: Any) -> None:
            for case in known:
                with _trying(case, fixtures):
                    test(*args, **fixtures, **case)

        @functools.wraps(test)
        async def each_awaited(*args: Any, **fixtures: Any) -> None:
            for case in known:
                with _trying(case, fixtures):
                    await test(*args, **fixtures, **case)

        made: Any = each_awaited if inspect.iscoroutinefunction(test) else one_after_the_other
        signature = inspect.signature(test)
        left = [each for name, each in signature.parameters.items() if name not in wanted]
        made.__signature__ = signature.replace(parameters=left)
        tested: Test = made
        return tested

    return decorate


@contextmanager
def _trying(case: dict[str, Any], fixtures: dict[str, Any]) -> Iterator[None]:
    if "caplog" in fixtures:
        # What the case before has logged is none of this one's.
        fixtures["caplog"].clear()
    try:
        yield
    except pytest.skip.Exception as error:
        raise AssertionError("the cases after this one would be skipped, too") from error
    except BaseException as error:
        error.add_note(f"the case: {case!r}")
        raise
