"""Configuration: files, profiles and environment, and the typed properties that come of them."""

from pyfly_session.config.loader import Config, load_config
from pyfly_session.config.sections import (
    ConcurrencyProperties,
    CookieProperties,
    EncryptionProperties,
    HeaderProperties,
    MemoryProperties,
    ObservabilityProperties,
    RedisProperties,
    SqlProperties,
    WebSocketProperties,
)
from pyfly_session.config.session_properties import (
    PropertyDescription,
    SessionProperties,
    bind_properties,
    describe_properties,
)

__all__ = [
    "Config",
    "load_config",
    "bind_properties",
    "describe_properties",
    "PropertyDescription",
    "SessionProperties",
    "CookieProperties",
    "HeaderProperties",
    "WebSocketProperties",
    "ConcurrencyProperties",
    "RedisProperties",
    "SqlProperties",
    "EncryptionProperties",
    "MemoryProperties",
    "ObservabilityProperties",
]
