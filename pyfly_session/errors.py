"""The exceptions of pyfly_session, one small tree under `SessionError`.

Absence is never an exception here: a session that does not exist is ``None`` or
``False``. What is raised is either the caller's fault (wrong property, forbidden
attribute, unusable value) or the backend's (`SessionStoreError`), and carries its
evidence as attributes.
"""

from __future__ import annotations


class SessionError(Exception):
    """Root of everything that this package raises on purpose.

    A traceback shows `page` below the message, as a note; the text of the error, which a visitor
    may get to see, does not have it.

    Attributes:
        page: The section of the documentation that says what to do.
    """

    page = "docs/reference/errors.md#sessionerror"

    def __init_subclass__(cls) -> None:
        """Name the section after the class; one of an application has that of its base."""
        if cls.__module__ == __name__:
            cls.page = f"docs/reference/errors.md#{cls.__name__.lower()}"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.add_note(f"See {self.page}")


class ConfigurationError(SessionError, ValueError):
    """A property is wrong, unknown or missing.

    Attributes:
        key: Dotted name of the property, for example ``pyfly.session.ttl``.
        value: The value found there, or None where the key itself is the problem.
        origin: The file or environment variable that supplied it, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        value: object = None,
        origin: str | None = None,
    ) -> None:
        super().__init__(f"{message} ({origin})" if origin else message)
        self.key = key
        self.value = value
        self.origin = origin


class StoreContractError(SessionError, TypeError):
    """An object offered as a session store does not keep the `SessionStore` contract."""


class ReservedAttributeError(SessionError, ValueError):
    """An attribute name belongs to the library's own metadata.

    Attributes:
        name: The attribute name that was refused.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the session attribute {name!r} is kept by the library itself;"
            " choose another name for your own data"
        )
        self.name = name


class SessionInvalidatedError(SessionError, RuntimeError):
    """A session was used after its ``invalidate()``."""

    def __init__(self) -> None:
        super().__init__(
            "this session was invalidated and neither answers nor accepts any more; read what you"
            " need before invalidate(), or, to go on with an empty session in the same request,"
            " call clear() and rotate_id() instead of invalidate()"
        )


class SessionReadOnlyError(SessionError, RuntimeError):
    """A session cannot be created, changed or given a new id at this point of the request.

    After its request it can neither: work for later belongs in a ``BackgroundTask``, or
    changes the session through a request of its own.
    """


class TooManySessionsError(SessionError):
    """A login was refused: its user has as many sessions as ``pyfly.session.concurrency`` allows.

    Unless the application handles it, the answer is 409 with a short explanation.

    Attributes:
        principal: Who tried to log in.
    """

    def __init__(self, principal: str) -> None:
        super().__init__(
            "you are logged in at as many places as you may be at once; log out at one of them"
            " first"
        )
        self.principal = principal


class SessionEncodingError(SessionError, TypeError):
    """An attribute value cannot be stored.

    Attributes:
        attribute: Name of the attribute.
        path: Where inside the attribute's value, for example ``["items"][0]``; empty for
            the value itself.
        type_name: Qualified name of the type that was found there.
    """

    def __init__(self, attribute: str, path: str, type_name: str, reason: str) -> None:
        where = f"session attribute {attribute!r}" + (f" at {path}" if path else "")
        super().__init__(f"{where}: {reason}")
        self.attribute = attribute
        self.path = path
        self.type_name = type_name


class SessionUpdateError(SessionError, RuntimeError):
    """A function of ``update_attribute`` failed on what another request had stored meanwhile.

    It had run without an error on what its own request saw. Nothing of the request was stored;
    unless the application handles it, the answer is 409. ``__cause__`` is the function's error.

    Attributes:
        attribute: Name of the attribute.
    """

    def __init__(self, attribute: str) -> None:
        super().__init__(
            f"session attribute {attribute!r}: another request changed it meanwhile, and it could"
            " not be updated once more; nothing of this request was stored, try again"
        )
        self.attribute = attribute


class CrossSiteRequestError(SessionError):
    """A login or logout was refused, for the request comes from a page of another site.

    Unless the application handles it, the answer is 403 with a short explanation.
    """


class SessionTooLargeError(SessionError, ValueError):
    """A session would be larger than ``pyfly.session.max-size``; nothing was stored.

    Attributes:
        size: Size of the encoded session in bytes.
        limit: The largest size allowed, in bytes.
        attribute: Name of the largest attribute.
    """

    def __init__(self, size: int, limit: int, attribute: str, attribute_size: int) -> None:
        super().__init__(
            f"the session would take {size} bytes, pyfly.session.max-size allows {limit};"
            f" its largest attribute is {attribute!r} with {attribute_size} bytes;"
            " keep large data elsewhere, and its key in the session"
        )
        self.size = size
        self.limit = limit
        self.attribute = attribute


class SessionDecodingError(SessionError, ValueError):
    """Stored bytes are not a session. Handled inside the library; a custom codec user meets it."""


class SessionStoreError(SessionError):
    """The backend failed; ``__cause__`` is the driver's own error.

    Attributes:
        operation: The store operation that failed, for example ``load``.
    """

    def __init__(self, message: str, *, operation: str | None = None) -> None:
        super().__init__(message)
        self.operation = operation


class SessionStoreUnavailableError(SessionStoreError):
    """The backend was not reached, or did not answer in time.

    Without a ``__cause__`` if it was not even tried, after several failures in a row.
    """


class UnsupportedServerError(SessionStoreError):
    """The server is too old for what the store needs of it."""


class SessionConflictError(SessionStoreError):
    """Other writers changed the session on every one of a bounded number of attempts.

    Attributes:
        attempts: How often the write was tried.
    """

    def __init__(self, masked_id: str, attempts: int) -> None:
        super().__init__(
            f"session {masked_id} was changed by other requests during each of {attempts} attempts"
            " to save it; nothing of this request was stored, try again",
            operation="merge",
        )
        self.attempts = attempts
