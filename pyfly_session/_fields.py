"""Structs whose fields describe themselves: types, constraints and words for them.

Knows nothing of sessions. A field is described by its type and its `msgspec.Meta`:
constraints, ``description``, ``examples`` and, in ``extra``, the keys

- ``unit``: singular noun of a number, for example ``second``;
- ``allowed``: what is allowed, for a type or pattern that does not say it by itself;
- ``secret``: ``"url"`` for a URL that may hold a password, True for any other secret.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import msgspec
from msgspec import inspect

from pyfly_session._masking import masked


class Properties(
    msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True
):
    """A section of properties: immutable, hashable, its secrets masked in ``repr``."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [
            (field.name, masked(getattr(self, field.name), secret=field.facts.get("secret")))
            for field in layout(type(self)).values()
        ]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a section, its type taken apart.

    Attributes:
        name: Attribute name in Python; the key in a file is its kebab form.
        declared: The annotated type, as `msgspec.convert` takes it.
        kind: The bare type, without None and without metadata.
        optional: Whether None is a value of the field.
        default: Its default; for a section the section's own defaults.
        facts: ``description``, ``examples`` and the keys of ``extra``.
        section: The struct of a section, None for a plain value.
    """

    name: str
    declared: Any
    kind: inspect.Type
    optional: bool
    default: Any
    facts: Mapping[str, Any]
    section: type[Properties] | None


@cache
def layout(section: type[Properties]) -> Mapping[str, Field]:
    """Return the fields of a section by their key, in the order of declaration."""
    inspected = cast("inspect.StructType", inspect.type_info(section))
    fields = {}
    for info, field in zip(msgspec.structs.fields(section), inspected.fields, strict=True):
        kind, optional, facts = _unwrap(field.type)
        nested = kind.cls if isinstance(kind, inspect.StructType) else None
        fields[info.encode_name] = Field(
            name=info.name,
            declared=info.type,
            kind=kind,
            optional=optional,
            default=info.default,
            facts=facts,
            section=cast("type[Properties] | None", nested),
        )
    return fields


def _unwrap(kind: inspect.Type) -> tuple[inspect.Type, bool, dict[str, Any]]:
    optional, facts = False, dict[str, Any]()
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            facts |= (kind.extra_json_schema or {}) | (kind.extra or {})
            kind = kind.type
        else:
            optional = kind.includes_none
            (kind,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
    return kind, optional, facts


def leaves(section: type[Properties], prefix: str) -> Iterator[tuple[str, Field]]:
    """Yield every plain property at or below a section with its full dotted key."""
    for key, field in layout(section).items():
        if field.section:
            yield from leaves(field.section, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", field


def allowed(field: Field) -> str:
    """Say in words which values a field takes."""
    if said := field.facts.get("allowed"):
        return str(said)
    unit = field.facts.get("unit")
    of_unit = f" of {unit}s" if unit else ""
    match field.kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() as kind:
            return f"a whole number{of_unit}{_range(kind)}"
        case inspect.FloatType() as kind:
            return f"a number{of_unit}{_range(kind)}"
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case inspect.StrType(min_length=length):
            return "text that is not empty" if length else "text"
        case _:
            return f"a {type_name(field)}"


def type_name(field: Field) -> str:
    """Return the type of a field in one or two words of documentation."""
    match field.kind:
        case inspect.BoolType():
            return "boolean"
        case inspect.IntType():
            return "integer"
        case inspect.FloatType():
            return "number"
        case inspect.VarTupleType() | inspect.ListType():
            return "list"
        case inspect.LiteralType() | inspect.StrType():
            return "text"
        case _:
            return "mapping"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    bounds = [
        f"{words} {bound}"
        for bound, words in ((kind.ge, "at least"), (kind.gt, "more than"), (kind.le, "at most"))
        if bound is not None
    ]
    return f", {' and '.join(bounds)}" if bounds else ""
