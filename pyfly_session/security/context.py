"""`SecurityContext`: who a request acts for, and what that user may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyfly_session.core.codec import allow_session_type

ORIGINAL_TAG = "pyfly.security.context:SecurityContext"
"""What marks the class in sessions of the original; read as ours, see `allow_session_type`."""


@dataclass(frozen=True)
class SecurityContext:
    """A user with roles and permissions, or nobody. Not changed after it was made.

    Args:
        user_id: Who it is; None for an anonymous visitor.
        roles: Names of roles.
        permissions: Names of permissions.
        attributes: What else is known of the user.

    Raises:
        TypeError: A value is not what its field holds. A stored context with such a value
            cannot be rebuilt, so its session is anonymous.
    """

    user_id: str | None = None
    roles: list[str] = field(default_factory=list)
    permissions: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.user_id is not None and not isinstance(self.user_id, str):
            raise TypeError(f"user_id must be str or None, got {type(self.user_id).__name__}")
        for name in ("roles", "permissions"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        if not isinstance(self.attributes, dict):
            raise TypeError(f"attributes must be a dict, got {type(self.attributes).__name__}")

    @property
    def is_authenticated(self) -> bool:
        """True if it is somebody."""
        return bool(self.user_id)

    def has_role(self, role: str) -> bool:
        """Tell whether the user has the role."""
        return role in self.roles

    def has_any_role(self, roles: Iterable[str]) -> bool:
        """Tell whether the user has at least one of the roles."""
        return not set(self.roles).isdisjoint(_names("roles", roles))

    def has_permission(self, permission: str) -> bool:
        """Tell whether the user has the permission."""
        return permission in self.permissions

    @classmethod
    def anonymous(cls) -> SecurityContext:
        """Return the context of a visitor who is not logged in."""
        return cls()


if TYPE_CHECKING:

    @dataclass(frozen=True)
    class LoggedIn(SecurityContext):
        """The context of a user who is logged in."""

        user_id: str = ""
else:
    LoggedIn = SecurityContext
    """The same, where type checkers may know that the user is somebody."""


def _names(what: str, value: object) -> list[str]:
    # The letters of a text would otherwise pass for names.
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        raise TypeError(f"{what} must be a list of str, got {type(value).__name__}")
    names = list(value)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"{what} must be a list of str, got {names!r}")
    return names


allow_session_type(SecurityContext)
allow_session_type(SecurityContext, tag=ORIGINAL_TAG)
