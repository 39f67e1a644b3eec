"""Tuples that a class declares: JSON has lists only, so its annotations say what a list was."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from functools import cache, partial
from typing import Any

Shape = Callable[[Any], Any]
"""Gives a value that was read the shape that an annotation asks for."""

_UNIONS = (typing.Union, types.UnionType)


@cache
def field_shapes(cls: type) -> dict[str, Shape]:
    """Return the shapes of those fields of a dataclass that have a tuple somewhere."""
    names = [field.name for field in dataclasses.fields(cls)]
    hints = _hints(cls)
    shapes = {name: shape_of(hints.get(name)) for name in names}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except (NameError, TypeError):
        return {}


def shape_of(hint: Any) -> Shape | None:
    """Return the shape that an annotation asks for; None if a value may stay as it was read."""
    hint = getattr(hint, "__value__", getattr(hint, "__supertype__", hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is tuple or origin is tuple:
        return _tuple(arguments)
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        hints = _hints(hint)
        fields = hint._fields
        return partial(_named, hint, [shape_of(hints.get(name)) for name in fields])
    if origin in _UNIONS:
        shapes = [(each, shape_of(each)) for each in arguments]
        return _union(shapes) if any(shape is not None for _, shape in shapes) else None
    if origin is None or not arguments:
        return None
    if origin in (typing.Annotated, typing.Final):
        return shape_of(arguments[0])
    inner = shape_of(arguments[-1])
    if inner is None or not isinstance(origin, type):
        return None
    return partial(_items, inner)


def _tuple(arguments: tuple[Any, ...]) -> Shape:
    if len(arguments) == 2 and arguments[1] is ...:
        inner = shape_of(arguments[0])
        return lambda value: _each(value, [inner] * len(value)) if _is_list(value) else value
    shapes = [shape_of(each) for each in arguments]
    return lambda value: _each(value, shapes) if _is_list(value) else value


def _named(cls: Any, shapes: list[Shape | None], value: Any) -> Any:
    # A later release may have added fields, which this one does not know.
    return cls(*_each(value[: len(shapes)], shapes)) if _is_list(value) else value


def _union(shapes: list[tuple[Any, Shape | None]]) -> Shape:
    def shaped(value: Any) -> Any:
        for hint, shape in shapes:
            if shape is not None:
                result = shape(value)
                if result is not value:
                    return result
            elif _is_list(value) and list in (hint, typing.get_origin(hint)):
                return value
        return value

    return shaped


def _items(inner: Shape, value: Any) -> Any:
    """Give the items of a collection, or the values of a mapping, their shape."""
    if isinstance(value, dict):
        return {key: inner(item) for key, item in value.items()}
    if isinstance(value, list | set | frozenset):
        return type(value)(inner(item) for item in value)
    return value


def _each(value: Any, shapes: list[Shape | None]) -> tuple[Any, ...]:
    shapes = [*shapes, *[None] * (len(value) - len(shapes))]
    return tuple(
        item if shape is None else shape(item) for item, shape in zip(value, shapes, strict=False)
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
