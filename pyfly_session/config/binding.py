"""Structs whose fields describe themselves, and the binding of a configuration mapping to them.

Knows nothing of sessions. A field is described by its type and its `msgspec.Meta`:
constraints, ``description``, ``examples`` and, in ``extra``, the keys

- ``unit``: singular noun of a number, for example ``second``;
- ``allowed``: what is allowed, for a type or pattern that does not say it by itself;
- ``secret``: ``"url"`` for a URL that may hold a password, True for any other secret.

Binding goes field by field, because every error names its own key, value, origin and remedy.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from pyfly_session.config.masking import masked, show, show_key
from pyfly_session.errors import ConfigurationError


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


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    bounds = [
        f"{words} {bound}"
        for bound, words in ((kind.ge, "at least"), (kind.gt, "more than"), (kind.le, "at most"))
        if bound is not None
    ]
    return f", {' and '.join(bounds)}" if bounds else ""


_P = TypeVar("_P", bound=Properties)

TRUE_WORDS = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "off", "0"})
# Comparing names takes quadratic time.
_LONGEST_NAME = 64
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_DURATION = re.compile(r"([0-9]{1,12}) ?([smhd])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")


def bind(
    section: type[_P], values: object, path: str, origins: Mapping[str, str], known: tuple[str, ...]
) -> _P:
    """Build a section from the mapping found at ``path``.

    Args:
        section: The struct to build.
        values: What the configuration holds there; None gives the defaults.
        path: Dotted key of the section.
        origins: Where each dotted key came from; may be incomplete.
        known: All dotted keys of the tree, for proposals.

    Raises:
        ConfigurationError: A key is unknown or a value is not what its property allows.
    """
    if values is None:
        return section()
    if not isinstance(values, Mapping):
        # What stands in the place of the section may have been meant for one of its keys.
        secret = any(field.facts.get("secret") is True for field in layout(section).values())
        blank = isinstance(values, str) and values.partition(":")[0] in layout(section)
        raise ConfigurationError(
            f"{path} must be a section with keys below it"
            f" ({', '.join(layout(section))}), got {show(values, secret=secret)}"
            f"{'; write a blank behind the colon' if blank else ''}",
            key=path,
            value=masked(values, secret=secret) if isinstance(values, str | int | float) else None,
            origin=origin_of(origins, path),
        )
    fields = layout(section)
    bound: dict[str, Any] = {}
    errors: list[ConfigurationError] = []
    for key, value in values.items():
        full = f"{path}.{show_key(key)}"
        field = fields.get(key) if isinstance(key, str) else None
        try:
            if field is None:
                hint = getattr(section, "elsewhere", {}).get(key)
                raise unknown_key(full, fields, known, origin_of(origins, full), hint)
            if field.section:
                bound[field.name] = bind(field.section, value, full, origins, known)
            elif value is not None:
                bound[field.name] = _convert(field, value, full, origin_of(origins, full))
        except ConfigurationError as error:
            errors += [error]
    raise_all(errors)
    return section(**bound)


_MOST_ERRORS = 20


def raise_all(errors: Sequence[ConfigurationError]) -> None:
    """Raise what is wrong, all of it at once, a line each; of one key once.

    Key, value and origin are those of the first.
    """
    by_key = {error.key or str(error): error for error in reversed(errors)}
    different = [*by_key.values()][::-1]
    if not different:
        return
    first = different[0]
    if len(different) == 1:
        raise first
    lines = [str(error) for error in different[:_MOST_ERRORS]]
    if len(different) > _MOST_ERRORS:
        lines.append(f"and {len(different) - _MOST_ERRORS} more")
    combined = ConfigurationError("\n".join(lines), key=first.key, value=first.value)
    combined.origin = first.origin
    raise combined


def _convert(field: Field, value: object, key: str, origin: str | None) -> object:
    value = _lenient(field, value)
    try:
        return msgspec.convert(value, field.declared)
    except msgspec.ValidationError:
        secret = field.facts.get("secret")
        raise ConfigurationError(
            f"{key} must be {_expected(field, value)}, got {_culprit(field, value, secret)}",
            key=key,
            value=masked(value, secret=secret),
            origin=origin,
        ) from None


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
    """Tell what a value violates: the one bound it misses, else all that is allowed."""
    kind = field.kind
    if isinstance(kind, inspect.BoolType):
        return "true or false (or yes/no, on/off, 1/0)"
    if isinstance(kind, inspect.IntType) and type(value) is int:
        return _missed(kind, value, field) or allowed(field)
    if isinstance(kind, inspect.FloatType) and type(value) in (int, float):
        return _missed(kind, cast("float", value), field) or allowed(field)
    if isinstance(kind, inspect.StrType) and isinstance(value, bool | int | float):
        return f"{allowed(field)} (quote it)"
    return allowed(field)


def _missed(kind: inspect.IntType | inspect.FloatType, value: float, field: Field) -> str | None:
    unit = field.facts.get("unit")
    if kind.ge is not None and value < kind.ge:
        return f"at least {_quantity(kind.ge, unit)}"
    if kind.gt is not None and value <= kind.gt:
        return f"more than {_quantity(kind.gt, unit)}"
    if kind.le is not None and value > kind.le:
        return f"at most {_quantity(kind.le, unit)}"
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


def origin_of(origins: Mapping[str, str], key: str) -> str | None:
    """Return where a dotted key came from, or else its nearest section, or None."""
    while key:
        if key in origins:
            return origins[key]
        key = key.rpartition(".")[0]
    return None


def unknown_key(
    key: str,
    siblings: Collection[str],
    known: tuple[str, ...],
    origin: str | None,
    hint: str | None = None,
) -> ConfigurationError:
    """Return the error for a key that no property has, with a proposal and the choice.

    Args:
        key: The full dotted key.
        siblings: The keys that its section allows.
        known: All dotted keys of the tree; a key that was put one level off is found there.
        origin: Where the key came from.
        hint: What to do instead, where that is known.
    """
    section, _, name = key.rpartition(".")
    name = kebab(name[:_LONGEST_NAME])
    elsewhere = [one for one in known if one.endswith(f".{name}")]
    close = [name] if name in siblings else difflib.get_close_matches(name, siblings, 1)
    # The right words with a dash for a dot, the other way round, or none.
    alike = [one for one in known if _run_together(one) == _run_together(f"{section}.{name}")]
    alike += [one for one in known if _run_together(one.rpartition(".")[2]) == _run_together(name)]
    if hint is not None:
        proposal = f"; {hint}. Allowed"
    elif alike and name not in siblings:
        proposal = f"; did you mean {alike[0]}? Allowed"
    elif close and (close[0] == name or not elsewhere):
        proposal = f"; did you mean {section}.{close[0]}? Allowed"
    elif elsewhere:
        proposal = f"; did you mean {elsewhere[0]}? Allowed"
    else:
        proposal = "; allowed"
    return ConfigurationError(
        f"{key} is not a known property{proposal} here: {', '.join(siblings)}",
        key=key,
        origin=origin,
    )


def _run_together(key: str) -> str:
    return key.replace(".", "").replace("-", "")


def kebab(name: str) -> str:
    """Return ``cookieName``, ``cookie_name`` or ``COOKIE_NAME`` as ``cookie-name``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).replace("_", "-").lower()
