"""The effective configuration: every property with its value, fit to be shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pyfly_session.config.binding import Properties, layout
from pyfly_session.config.masking import masked
from pyfly_session.config.oauth2_properties import PREFIX as OAUTH2
from pyfly_session.config.oauth2_properties import OAuth2Properties
from pyfly_session.config.session_properties import PREFIX, SessionProperties


class EffectiveValue(NamedTuple):
    """What holds for one property.

    Attributes:
        key: The full dotted key.
        value: Fit to be shown: of a secret a mask.
        is_default: Whether it is the property's default.
    """

    key: str
    value: Any
    is_default: bool


def effective_values(
    properties: SessionProperties, oauth2: OAuth2Properties
) -> Iterator[EffectiveValue]:
    """Yield every property, in the order of declaration."""
    yield from _leaves(properties, PREFIX)
    yield from _leaves(oauth2.client, f"{OAUTH2}.client")
    for name, registration in oauth2.registrations.items():
        yield from _leaves(registration, f"{OAUTH2}.client.registrations.{name}")
    yield from _leaves(oauth2.login, f"{OAUTH2}.login")


def _leaves(section: Properties, prefix: str) -> Iterator[EffectiveValue]:
    for key, field in layout(type(section)).items():
        value = getattr(section, field.name)
        if field.section:
            yield from _leaves(value, f"{prefix}.{key}")
        else:
            # An empty list of secrets hides nothing.
            shown = masked(value, secret=field.facts.get("secret") if value else None)
            shown = list(shown) if isinstance(shown, tuple) else shown
            yield EffectiveValue(f"{prefix}.{key}", shown, value == field.default)
