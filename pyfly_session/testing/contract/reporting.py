"""What a failing test of the contract says: the promise, what was found, where to mend it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from pyfly_session.errors import SessionConflictError

Test = TypeVar("Test", bound=Callable[..., Awaitable[None]])


class BrokenPromiseError(AssertionError):
    """A store did otherwise than its contract says.

    Args:
        detail: What it did.
        methods: The methods to mend, where they are known better than the test's `promised_by`.
    """

    def __init__(self, detail: str, *methods: str) -> None:
        super().__init__(detail)
        self.methods = methods


def expect(found: object, expected: object, what: str) -> None:
    """Fail unless ``found`` equals ``expected``.

    Args:
        found: What the store did.
        expected: What it promised.
        what: Where it was looked at, a few words.

    Raises:
        BrokenPromiseError: They differ.
    """
    __tracebackhide__ = True
    if found != expected:
        raise BrokenPromiseError(f"{what}\n    expected: {expected!r}\n    found:    {found!r}")


def promised_by(
    *methods: str, needs: type[Any] | tuple[type[Any], ...] = ()
) -> Callable[[Test], Test]:
    """Make the docstring of a test the promise that its failure tells.

    Args:
        methods: Methods of the store that keep the promise; those that a store does not have
            are not named to its author.
        needs: Capabilities without which a store cannot promise it; the test is skipped then.
    """

    def decorate(test: Test) -> Test:
        promise = inspect.cleandoc(test.__doc__ or test.__name__.replace("_", " "))

        @functools.wraps(test)
        async def run(*args: Any, store: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            for capability in needs if isinstance(needs, tuple) else (needs,):
                if not isinstance(store, capability):
                    pytest.skip(f"{type(store).__name__} has no capability {capability.__name__}")
            try:
                await test(*args, store=store, **kwargs)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                # With its traceback, which ends in the test's line or in the store.
                raise _failure(promise, methods, store, error).with_traceback(
                    error.__traceback__
                ) from None

        return run  # type: ignore[return-value]

    return decorate


def _failure(
    promise: str, methods: tuple[str, ...], store: object, error: Exception
) -> BaseException:
    if isinstance(error, BrokenPromiseError):
        detail, methods = str(error), error.methods or methods
    elif isinstance(error, SessionConflictError):
        # Its own text blames other writers; here there was none.
        detail = f"at each of {error.attempts} attempts the store held what nobody wrote"
    else:
        detail = f"it raised {type(error).__name__}: {error}"
    name = type(store).__name__
    mend = ", ".join(f"{name}.{method}" for method in methods if hasattr(store, method))
    return pytest.fail.Exception(
        f"{name} breaks a promise.\n\n"
        f"Promise: {promise}\n"
        f"Found:   {detail}\n"
        f"Mend:    {mend or name}; pyfly_session/ports.py says what is owed"
    )
