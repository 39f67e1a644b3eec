"""`Stored`: one session attribute as a model, validated when read, saved when changed."""

# Annotations are not postponed here: FastAPI reads those of dependencies.
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from pyfly_session.core.attributes import require_no_coroutine
from pyfly_session.core.session import HttpSession
from pyfly_session.errors import SessionDecodingError, SessionEncodingError
from pyfly_session.fastapi.session import Session

_logger = logging.getLogger(__name__)
T = TypeVar("T")


class Stored(Generic[T]):
    """An attribute that is a pydantic model, a dataclass, or another type that pydantic knows.

    As a dependency it gives the object of the request's session. A change of the object is
    saved with the session, wherever it happens: there is nothing to call. In the store it is
    plain JSON, so other programs can read it, and no type has to be allowed.

    Args:
        model: The type.
        name: The attribute's name.
        default: Makes the object where there is none; it is stored once it has been changed.
            Without it the absent object is None.
        strict: Raise an error for a stored value that is no such object; otherwise it counts
            as absent, with a warning in the log.
    """

    def __init__(
        self,
        model: type[T],
        name: str,
        *,
        default: Callable[[], T] | None = None,
        strict: bool = False,
    ) -> None:
        self.model = model
        self.name = name
        self.strict = strict
        self._default = default
        self._adapter: TypeAdapter[T] = TypeAdapter(model)

    async def __call__(self, session: Session) -> Any:
        """Return the object of the request's session."""
        return self.get(session)

    def get(self, session: HttpSession) -> T | None:
        """Return the object; one and the same for all who ask during a request.

        Raises:
            SessionDecodingError: What is stored is no such object, and ``strict`` is set.
        """
        stored = session.get_attribute(self.name)
        owner = session.attributes.owner(self.name)
        if isinstance(owner, Stored):
            if owner.model != self.model:
                raise TypeError(
                    f"session attribute {self.name!r} is a {_name(owner.model)} in this request"
                    f" and cannot be a {_name(self.model)} as well; store one of them elsewhere"
                )
            value: T = stored
            return value
        found = self._validated(stored) if session.has_attribute(self.name) else None
        if found is None and self._default is not None:
            found = self._default()
        if found is not None:
            session.attributes.bind(self.name, found, self)
            session.touched = True
        return found

    def set(self, session: HttpSession, value: T) -> None:
        """Store an object in place of what is there."""
        session.set_attribute(self.name, None)
        session.attributes.bind(self.name, value, self)

    def update(self, session: HttpSession, function: Callable[[Any], T]) -> T:
        """Change the object by a function of it; requests that meet lose nothing.

        Args:
            session: The session.
            function: Gets the object, the default, or None, and returns the new one. It may run
                again when the session is stored; see `HttpSession.update_attribute`.

        Returns:
            The new object, as this request sees it.
        """

        def plain(stored: Any) -> Any:
            found = None if stored is None else self._validated(stored)
            if found is None and self._default is not None:
                found = self._default()
            return self.plain(require_no_coroutine(self.name, function(found)))

        session.update_attribute(self.name, plain)
        found = self.get(session)
        if found is None:
            raise self._unencodable("the function returned None")
        return found

    def remove(self, session: HttpSession) -> None:
        """Remove the object; nothing happens if there is none."""
        session.remove_attribute(self.name)

    def plain(self, value: Any) -> Any:
        """Return an object as plain JSON data that can be read again.

        Raises:
            SessionEncodingError: It cannot: it is another type's, or was changed so that it
                is not valid any more.
        """
        try:
            plain = self._adapter.dump_python(
                value, mode="json", by_alias=True, round_trip=True, warnings="error"
            )
            self._read(plain)
        except ValidationError as error:
            raise self._unencodable(_summary(error)) from None
        except PydanticSerializationError as error:
            raise self._unencodable(str(error)) from None
        return plain

    def _read(self, plain: Any) -> T:
        # As JSON, where a strict model takes a text for a date.
        return self._adapter.validate_json(to_json(plain))

    def _validated(self, stored: Any) -> T | None:
        try:
            return self._read(stored)
        except ValidationError as error:
            message = f"session attribute {self.name!r} is no {_name(self.model)}: "
            if self.strict:
                raise SessionDecodingError(message + _summary(error)) from None
            _logger.warning("%s%s; it counts as absent", message, _summary(error))
            return None

    def _unencodable(self, reason: str) -> SessionEncodingError:
        name = _name(self.model)
        return SessionEncodingError(self.name, "", name, f"it is no valid {name}: {reason}")


def _name(model: Any) -> str:
    return getattr(model, "__qualname__", str(model))


def _summary(error: ValidationError) -> str:
    """Return where and why, but no values: those are the visitor's."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the value'}: {each['msg']}" for each in found
    )
