"""Pictures of values, to see at the end of a request whether they were changed in place.

Made by `pickle`, which is written in C and follows what holds itself; nothing is ever loaded from
them, and they leave the process as little as they enter it.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn


class _NotPlain(Exception):  # noqa: N818 - it never gets out of here
    """The value holds what decides itself how it is pickled, and may leave something out."""


class _Camera(pickle.Pickler):
    def reducer_override(self, obj: Any) -> NoReturn:
        """Refuse; plain values are never asked about."""
        raise _NotPlain


def picture(value: Any) -> bytes | None:
    """Return bytes that differ if the value does, None if it is not of plain data only.

    Plain are lists, dictionaries, tuples, sets, texts, bytes, numbers, bool and None. Unlike ``==``
    a picture tells 1 from 1.0 and from True. Two pictures of equal values may differ, if they
    are made of other objects.
    """
    film = io.BytesIO()
    try:
        _Camera(film, 5).dump(value)
    except (_NotPlain, RecursionError):
        return None
    return film.getvalue()
