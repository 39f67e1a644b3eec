"""Binding of a configuration mapping to the structs of `_fields`, one field at a time.

Field by field, because every error names its own key, value, origin and remedy.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from pyfly_session._fields import Field, Properties, allowed, layout
from pyfly_session._masking import masked, show, show_key
from pyfly_session.errors import ConfigurationError

_P = TypeVar("_P", bound=Properties)

TRUE_WORDS = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "off", "0"})
# Comparing names takes quadratic time.
_LONGEST_NAME = 64
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
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
        raise ConfigurationError(
            f"{path} must be a section with keys below it"
            f" ({', '.join(layout(section))}), got {show(values, secret=secret)}",
            key=path,
            value=masked(values, secret=secret) if isinstance(values, str | int | float) else None,
            origin=origin_of(origins, path),
        )
    fields = layout(section)
    bound: dict[str, Any] = {}
    for key, value in values.items():
        full = f"{path}.{show_key(key)}"
        field = fields.get(key) if isinstance(key, str) else None
        if field is None:
            raise unknown_key(full, fields, known, origin_of(origins, full))
        if field.section:
            bound[field.name] = bind(field.section, value, full, origins, known)
        elif value is not None:
            bound[field.name] = _convert(field, value, full, origin_of(origins, full))
    return section(**bound)


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
    key: str, siblings: Collection[str], known: tuple[str, ...], origin: str | None
) -> ConfigurationError:
    """Return the error for a key that no property has, with a proposal and the choice.

    Args:
        key: The full dotted key.
        siblings: The keys that its section allows.
        known: All dotted keys of the tree; a key that was put one level off is found there.
        origin: Where the key came from.
    """
    section, _, name = key.rpartition(".")
    name = kebab(name[:_LONGEST_NAME])
    elsewhere = [one for one in known if one.endswith(f".{name}")]
    close = [name] if name in siblings else difflib.get_close_matches(name, siblings, 1)
    if close and (close[0] == name or not elsewhere):
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


def kebab(name: str) -> str:
    """Return ``cookieName``, ``cookie_name`` or ``COOKIE_NAME`` as ``cookie-name``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).replace("_", "-").lower()
