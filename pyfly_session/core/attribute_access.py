"""`AttributeAccess`: the attributes of a session as those of a dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class AttributeAccess:
    """Lets a session be used as a mapping of its attributes, besides its own methods.

    It is none for ``isinstance``, has no equality of its own, and is true although it is empty.
    """

    __slots__ = ()

    def get_attribute(self, name: str, default: Any = None) -> Any:
        """Return the attribute's value, or the default if there is none."""
        raise NotImplementedError

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute."""
        raise NotImplementedError

    def remove_attribute(self, name: str) -> None:
        """Remove an attribute; nothing happens if there is none."""
        raise NotImplementedError

    def has_attribute(self, name: object) -> bool:
        """Return whether there is such an attribute, be it None."""
        raise NotImplementedError

    def attribute_names(self) -> list[str]:
        """List the attributes, names with a leading underscore included."""
        raise NotImplementedError

    def get_attribute_names(self) -> list[str]:
        """List the attributes; names with a leading underscore count as internal."""
        return [name for name in self.attribute_names() if not name.startswith("_")]

    def __contains__(self, name: object) -> bool:
        """Return whether there is such an attribute, be it None."""
        return self.has_attribute(name)

    def __getitem__(self, name: str) -> Any:
        """Return the attribute's value, or raise KeyError."""
        if not self.has_attribute(name):
            raise KeyError(name)
        return self.get_attribute(name)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set an attribute."""
        self.set_attribute(name, value)

    def __delitem__(self, name: str) -> None:
        """Remove an attribute, or raise KeyError."""
        if not self.has_attribute(name):
            raise KeyError(name)
        self.remove_attribute(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, as `get_attribute_names` lists them."""
        return iter(self.get_attribute_names())

    def __len__(self) -> int:
        """Count these."""
        return len(self.get_attribute_names())

    def __bool__(self) -> bool:
        """Be true: an empty session is one, too."""
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """Return the attribute's value, or the default if there is none."""
        return self.get_attribute(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove an attribute and return its value, or the default; without one, raise KeyError."""
        if not self.has_attribute(name):
            if default:
                return default[0]
            raise KeyError(name)
        value = self.get_attribute(name)
        self.remove_attribute(name)
        return value

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the attribute's value; set it to the default first if there is none."""
        if not self.has_attribute(name):
            self.set_attribute(name, default)
        return self.get_attribute(name)

    def update(
        self, attributes: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), **more: Any
    ) -> None:
        """Set several attributes; see `HttpSession.update_attribute` for counters."""
        for name, value in {**dict(attributes), **more}.items():
            self.set_attribute(name, value)
