"""The demo's configuration: the shipped files, fitted to plain HTTP."""

from pathlib import Path

from pyfly_session.config import Config, bind_properties, load_config

_PACKAGE = Path(__file__).parents[2]
_COOKIE_NAME = "pyfly.session.cookie-name"
_SECURE = "pyfly.session.cookie.secure"


def shipped_config_directory() -> Path:
    """Return the directory of the YAML files that come with the package."""
    packaged = _PACKAGE / "default_config"
    # A source checkout keeps them beside the package; building the wheel moves them into it.
    return packaged if packaged.is_dir() else _PACKAGE.parent / "config"


def demo_config(profile: str) -> Config:
    """Load a shipped profile; variables ``PYFLY_SESSION_…`` count as everywhere.

    Raises:
        ConfigurationError: A variable is wrong.
    """
    config = load_config(shipped_config_directory(), profile)
    session = config["pyfly"]["session"]
    # A variable may switch sessions off; here that would leave nothing to show.
    session["enabled"] = True
    if _COOKIE_NAME not in config.origins or "variable" not in config.origins[_COOKIE_NAME]:
        # On this host an application of yours may have the common one.
        session["cookie-name"] = "PYFLY_DEMO"
    # Stylesheet and script have no use for a session.
    session["exclude-patterns"] = [*bind_properties(config).exclude_patterns, "/static/*"]
    return config


def allow_plain_http(config: Config) -> bool:
    """Take ``Secure`` from the cookie, in place; tell whether that changed anything.

    Chromium and curl send a Secure cookie to http://127.0.0.1 nevertheless, others do not
    (Safari, httpx), and to other hosts nobody does: there every click would be the first of
    a new visitor. Who asks for Secure by a variable, or by the cookie's name, gets it.
    """
    properties = bind_properties(config)
    asked_for = config.origins.get(_SECURE, "").startswith("environment variable")
    if not properties.cookie.secure or asked_for or properties.cookie_name.startswith("__"):
        return False
    config["pyfly"]["session"]["cookie"]["secure"] = False
    return True
