"""`ShownValues`: live values of attributes that another dictionary holds as well."""

from __future__ import annotations

from typing import Any
from weakref import ref

# No text, so a serializer that finds it complains.
_ENDED: Any = type("_Ended", (), {"__repr__": lambda self: "<the session has ended>"})()


class ShownValues(dict[str, Any]):
    """The values by name; what is done to them is done to the other dictionary, too.

    Args:
        live: The values until now.
        view: The other dictionary. It is not held, for it refers to the session.
    """

    __slots__ = ("_view",)

    def __init__(self, live: dict[str, Any], view: dict[str, Any]) -> None:
        super().__init__(live)
        self._view = ref(view)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a value."""
        super().__setitem__(name, value)
        if (view := self._view()) is not None:
            dict.__setitem__(view, name, value)

    def pop(self, name: str, default: Any = None) -> Any:
        """Remove and return a value, or return the default."""
        if (view := self._view()) is not None:
            dict.pop(view, name, None)
        return super().pop(name, default)

    def clear(self) -> None:
        """Remove all values, for the session has ended."""
        super().clear()
        if (view := self._view()) is not None:
            dict.clear(view)
            dict.__setitem__(view, _ENDED, None)
