"""Structs whose fields describe themselves, and the binding of a configuration mapping to them.

Knows nothing of sessions. A field is described by its type and its `msgspec.Meta`:
constraints, ``description``, ``examples`` and, in ``extra``, the keys

- ``unit``: singular noun of a number, for example ``second``;
- ``allowed``: what is allowed, for a type or pattern that does not say it by itself;
- ``secret``: ``"url"`` for a URL that may hold a password, True for any other secret.

Binding goes field by field, because every mistake has its own key, value, origin and remedy.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from operator import gt, le, lt
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from pyfly_session.config.masking import masked, show, show_key
from pyfly_session.config.mistakes import Mistakes


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
    text = ", or a duration such as 30m" if unit == "second" else ""
    match field.kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() as kind:
            return f"a whole number{of_unit}{_range(kind)}{text}"
        case inspect.FloatType() as kind:
            return f"a number{of_unit}{_range(kind)}{text}"
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


# How a bound is called, in words, and what misses it; nan misses none.
_BOUNDS = (("ge", "at least", lt), ("gt", "more than", le), ("le", "at most", gt))


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    bounds = [
        f"{words} {bound}"
        for name, words, _ in _BOUNDS
        if (bound := getattr(kind, name)) is not None
    ]
    return f", {' and '.join(bounds)}" if bounds else ""


_P = TypeVar("_P", bound=Properties)

TRUE_WORDS = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "off", "0"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_DURATION = re.compile(r"([0-9]{1,12}) ?([smhd])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")


def bind(
    section: type[_P], values: object, path: str, known: tuple[str, ...], mistakes: Mistakes
) -> _P:
    """Build a section from the mapping found at ``path``; what is wrong has its default.

    Args:
        section: The struct to build.
        values: What the configuration holds there; None gives the defaults.
        path: Dotted key of the section.
        known: All dotted keys of the tree, for proposals.
        mistakes: Gets each key that is unknown or whose value is not allowed.
    """
    fields = layout(section)
    bound: dict[str, Any] = {}
    if values is not None and not isinstance(values, Mapping):
        # What stands in the place of the section may have been meant for one of its keys.
        secret = any(field.facts.get("secret") is True for field in fields.values())
        blank = isinstance(values, str) and values.partition(":")[0] in fields
        mistakes.add(
            path,
            f"must be a section with keys below it ({', '.join(fields)}), got"
            f" {show(values, secret=secret)}{'; write a blank behind the colon' if blank else ''}",
            masked(values, secret=secret) if isinstance(values, str | int | float) else None,
        )
        return section()
    for key, value in (values or {}).items():
        full = f"{path}.{show_key(key)}"
        field = fields.get(key) if isinstance(key, str) else None
        if field is None:
            hint = getattr(section, "elsewhere", {}).get(key)
            mistakes.add_unknown(full, fields, known, hint)
        elif field.section:
            bound[field.name] = bind(field.section, value, full, known, mistakes)
        elif value is not None:
            given = _lenient(field, value)
            try:
                bound[field.name] = msgspec.convert(given, field.declared)
            except msgspec.ValidationError:
                kind = field.facts.get("secret")
                problem = f"must be {_expected(field, given)}, got {_culprit(field, given, kind)}"
                mistakes.add(full, problem, masked(given, secret=kind))
    return section(**bound)


def _lenient(field: Field, value: object) -> object:
    """Turn what environment variables and placeholders deliver into the field's own type."""
    if field.optional and isinstance(value, str) and not value.strip():
        return None
    match field.kind, value:
        case inspect.BoolType(), str():
            word = value.strip().lower()
            return word in TRUE_WORDS if word in TRUE_WORDS | FALSE_WORDS else value
        case inspect.BoolType(), 0 | 1:
            return bool(value)
        case inspect.IntType(), str() if _INTEGER.fullmatch(value.strip()):
            return int(value)
        case ((inspect.IntType() | inspect.FloatType()), str()) if field.facts.get(
            "unit"
        ) == "second" and (found := _DURATION.fullmatch(value.strip())):
            return int(found[1]) * _SECONDS[found[2].lower()]
        case inspect.FloatType(), str() if _NUMBER.fullmatch(value.strip()):
            return float(value)
        case inspect.LiteralType(), str():
            return value.strip().lower().replace("_", "-")
        case ((inspect.VarTupleType() | inspect.ListType()), str()):
            return [part.strip() for part in value.split(",") if part.strip()]
        case _:
            return value


def _expected(field: Field, value: object) -> str:
    """Return what a value violates: the one bound it misses, else all that is allowed."""
    match field.kind:
        case inspect.BoolType():
            return "true or false (or yes/no, on/off, 1/0)"
        case inspect.StrType() if isinstance(value, bool | int | float):
            return f"{allowed(field)} (quote it)"
        case inspect.IntType() as kind if type(value) is int:
            return _missed(kind, value, field) or allowed(field)
        case inspect.FloatType() as kind if type(value) in (int, float):
            return _missed(kind, cast("float", value), field) or allowed(field)
    return allowed(field)


def _missed(kind: inspect.IntType | inspect.FloatType, value: float, field: Field) -> str | None:
    for name, words, misses in _BOUNDS:
        bound = getattr(kind, name)
        if bound is not None and misses(value, bound):
            return f"{words} {_quantity(bound, field.facts.get('unit'))}"
    return None


def _culprit(field: Field, value: object, secret: bool | str | None) -> str:
    """Show what is wrong: of a list its first wrong item, else the whole value."""
    if isinstance(value, list | tuple) and isinstance(
        field.kind, inspect.VarTupleType | inspect.ListType
    ):
        value = next((item for item in value if not _fits(field, [item])), value)
    return show(value, secret=secret)


def _fits(field: Field, value: object) -> bool:
    try:
        msgspec.convert(value, field.declared)
    except msgspec.ValidationError:
        return False
    return True


def _quantity(amount: float, unit: str | None) -> str:
    if not unit:
        return str(amount)
    return f"{amount} {unit}" if amount == 1 else f"{amount} {unit}s"
