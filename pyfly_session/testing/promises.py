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
    """A store did otherwise than its contract says; the text tells how."""


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
            except SessionConflictError as error:
                # It says how often other writers won, which misleads where there was none.
                detail = f"a commit found another value at each of {error.attempts} attempts"
                raise _failure(promise, detail, methods, store) from error
            except BrokenPromiseError as broken:
                raise _failure(promise, str(broken), methods, store) from None
            except Exception as error:
                detail = f"it raised {type(error).__name__}: {error}"
                raise _failure(promise, detail, methods, store) from error

        return run  # type: ignore[return-value]

    return decorate


def _failure(promise: str, detail: str, methods: tuple[str, ...], store: object) -> BaseException:
    name = type(store).__name__
    mend = ", ".join(f"{name}.{method}" for method in methods if hasattr(store, method))
    return pytest.fail.Exception(
        f"{name} breaks a promise.\n\n"
        f"Promise: {promise}\n"
        f"Found:   {detail}\n"
        f"Mend:    {mend or name}; pyfly_session/ports.py says what is owed"
    )
