"""The properties of the login with a provider, under ``pyfly.security.oauth2``."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pyfly_session.config.binding import Properties, bind, layout, leaves
from pyfly_session.config.masking import show, show_key
from pyfly_session.config.mistakes import Mistakes
from pyfly_session.config.sections import Secret, about, in_words, text
from pyfly_session.config.session_properties import PropertyDescription, describe

PREFIX = "pyfly.security.oauth2"
_REGISTRATIONS = f"{PREFIX}.client.registrations"
_ID = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_SHORTEST_SECRET = 32
# Names that begin so are the library's own.
_RESERVED_ID = "pyfly"
FOREIGN_SECTIONS = ("resource-server", "authorization-server", "token-store")
"""Sections of the original that mean nothing here."""
_SECTIONS = ("client", "login", *FOREIGN_SECTIONS)

HttpUrl = Annotated[
    str,
    text(r"^https?://[^\s\x00-\x1f\x7f]+\Z", "a URL that starts with https:// or http://"),
]
OwnUrl = Annotated[
    str,
    text(
        r"^(https?://[^\s\x00-\x1f\x7f]|\{baseUrl\})[^\s\x00-\x1f\x7f]*\Z",
        "a URL that starts with https://, http:// or {baseUrl}",
    ),
]
"""An address of this application; ``{baseUrl}`` is that of the request, with the path below."""
LocalPath = Annotated[
    str,
    text(
        r"^/(?![/\\])[^\\\s\x00-\x1f\x7f]*\Z",
        "a path of this application that starts with one /",
    ),
]
Names = tuple[Annotated[str, Meta(min_length=1)], ...]


class RegistrationProperties(Properties, frozen=True, kw_only=True):
    """One registration of this application at a provider."""

    client_id: Annotated[
        str | None, about("Id of this application at the provider; required.", "shop")
    ] = None
    client_secret: Annotated[
        Secret | None,
        about("Its secret; without one the application is a public client.", "${SHOP_SECRET}"),
    ] = None
    client_name: Annotated[
        str | None, about("Name of the provider for people.", "Example Accounts")
    ] = None
    provider_name: Annotated[
        str | None, about("The original's name for `client-name`.", "Example Accounts")
    ] = None
    client_authentication_method: Annotated[
        Literal["client-secret-basic", "client-secret-post", "none"] | None,
        about(
            "How the secret is sent; without it as the provider announces, in a header first.",
            "client-secret-post",
        ),
    ] = None
    authorization_grant_type: Annotated[
        Literal["authorization-code"], about("The only grant there is.", "authorization-code")
    ] = "authorization-code"
    redirect_uri: Annotated[
        OwnUrl | None,
        about(
            "Where the provider sends the browser back to, as registered there;"
            " without it `{baseUrl}/login/oauth2/code/{registrationId}`.",
            "https://shop.example/login/oauth2/code/accounts",
        ),
    ] = None
    response_mode: Annotated[
        Literal["query", "form-post"],
        about("How the provider's answer comes back; a form needs HTTPS.", "form-post"),
    ] = "query"
    post_logout_redirect_uri: Annotated[
        OwnUrl | None,
        about("Where the provider sends the browser after a logout.", "{baseUrl}/goodbye"),
    ] = None
    scopes: Annotated[
        Names,
        in_words("a list of scopes"),
        about(
            "What to ask for; without it `openid` where there is an `issuer-uri`.",
            ["openid", "profile", "email"],
        ),
    ] = ()
    issuer_uri: Annotated[
        HttpUrl | None,
        about(
            "The provider; its endpoints and keys are discovered from here.",
            "https://accounts.example",
        ),
    ] = None
    authorization_uri: Annotated[
        HttpUrl | None,
        about("Authorization endpoint, instead of the discovered one.", "https://a.example/auth"),
    ] = None
    token_uri: Annotated[
        HttpUrl | None,
        about("Token endpoint, instead of the discovered one.", "https://a.example/token"),
    ] = None
    user_info_uri: Annotated[
        HttpUrl | None,
        about("Userinfo endpoint, instead of the discovered one.", "https://a.example/me"),
    ] = None
    jwks_uri: Annotated[
        HttpUrl | None,
        about("Keys of the provider, instead of the discovered ones.", "https://a.example/jwks"),
    ] = None
    end_session_uri: Annotated[
        HttpUrl | None,
        about("Logout endpoint, instead of the discovered one.", "https://a.example/logout"),
    ] = None
    require_iss: Annotated[
        bool,
        about("Refuse an answer without `iss`, though the provider announces none.", True),
    ] = False
    use_pkce: Annotated[bool, about("PKCE is always used; false is refused.", True)] = True
    load_user_info: Annotated[
        bool, about("Ask for userinfo although there is an ID token.", True)
    ] = False
    user_name_attribute: Annotated[
        str | None,
        about(
            "Claim that is the user's id, one that the provider never gives to anybody else;"
            " without it `sub`.",
            "oid",
        ),
    ] = None
    role_claims: Annotated[
        Names,
        in_words("a list of claims, dots lead into nested ones"),
        about("Claims whose values become roles.", ["groups", "realm_access.roles"]),
    ] = ()
    role_mapping: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^.+=[^=\s]+\Z")], ...],
        in_words("a list of claim value=ROLE"),
        about(
            "Roles of claim values; if there are any, other values give no role.",
            ["shop-admins=ADMIN"],
        ),
    ] = ()


class LoginProperties(Properties, frozen=True, kw_only=True):
    """The login itself."""

    enabled: Annotated[bool, about("Switch the login on.", True)] = False
    default_target: Annotated[
        LocalPath, about("Where a user goes who wanted no page in particular.", "/account")
    ] = "/"
    logout_target: Annotated[LocalPath, about("Where a user goes after a logout.", "/goodbye")] = (
        "/"
    )
    back_channel_logout: Annotated[
        bool,
        about("Let the providers end the sessions of who logs out there.", True),
    ] = False

    qualified_user_ids: Annotated[
        bool,
        about(
            "Put the registration's id and a colon in front of each user's id; false is for a"
            " single registration whose users are all there are.",
            False,
        ),
    ] = True
    attempt_lifetime: Annotated[
        Annotated[int, Meta(ge=30, le=86_400, extra={"unit": "second"})],
        about("How long a user has for the provider's pages.", 900),
    ] = 3600
    secret: Annotated[
        Secret | None,
        about(
            "Encrypts the cookies of started logins, the same in all processes; without it the"
            " `client-secret` does.",
            "${LOGIN_SECRET}",
        ),
    ] = None


class ClientProperties(Properties, frozen=True, kw_only=True):
    """The registrations, apart from themselves."""

    enabled: Annotated[bool, about("Switch the registrations on.", True)] = False


class OAuth2Properties(msgspec.Struct, frozen=True, kw_only=True):
    """Everything under ``pyfly.security.oauth2`` that is about a login.

    Attributes:
        client: Whether there are registrations.
        registrations: Each registration by its id.
        login: The login itself.
    """

    client: ClientProperties = ClientProperties()
    registrations: dict[str, RegistrationProperties] = {}
    login: LoginProperties = LoginProperties()


REGISTRATION_KEYS = tuple(layout(RegistrationProperties))
"""The names below the id of a registration."""
PLAIN_KEYS = (
    *(key for key, _ in leaves(ClientProperties, f"{PREFIX}.client")),
    *(key for key, _ in leaves(LoginProperties, f"{PREFIX}.login")),
)
"""The dotted keys that belong to no registration."""
_KNOWN = (*PLAIN_KEYS, *(f"{_REGISTRATIONS}.<id>.{name}" for name in REGISTRATION_KEYS))


def describe_oauth2_properties() -> list[PropertyDescription]:
    """List every property of the login; ``<id>`` stands for the id of a registration."""
    return [
        *describe(ClientProperties, f"{PREFIX}.client"),
        *describe(RegistrationProperties, f"{_REGISTRATIONS}.<id>"),
        *describe(LoginProperties, f"{PREFIX}.login"),
    ]


def bind_oauth2_properties(
    tree: Mapping[str, Any] | None,
    origins: Mapping[str, str] | None = None,
    mistakes: Mistakes | None = None,
) -> OAuth2Properties:
    """Bind and validate the properties of the login in a whole configuration tree.

    Args:
        tree: The whole configuration.
        origins: File or variable of each dotted key; unless given, those of the tree.
        mistakes: Gets what is wrong, instead of having it raised.

    Raises:
        ConfigurationError: A key is unknown, a value is not allowed or missing. Secrets in
            it are masked.
    """
    if origins is None:
        origins = getattr(tree, "origins", None) or {}
    found = Mistakes(origins) if mistakes is None else mistakes
    section = _section(tree, PREFIX, found)
    for key in section:
        if key not in _SECTIONS:
            found.add_unknown(f"{PREFIX}.{show_key(key)}", _SECTIONS, _KNOWN)
    registrations = {}
    for name, value in _section(tree, _REGISTRATIONS, found).items():
        key = f"{_REGISTRATIONS}.{show_key(name)}"
        if isinstance(name, str) and _ID.fullmatch(name) and name != _RESERVED_ID:
            registrations[name] = bind(RegistrationProperties, value, key, _KNOWN, found)
        else:
            found.add(
                key,
                "cannot be: the id of a registration is a part of URLs and consists of letters,"
                f" digits and ._~-; {_RESERVED_ID} is reserved",
            )
    client, login = dict(_section(tree, f"{PREFIX}.client", found)), section.get("login")
    client.pop("registrations", None)
    properties = OAuth2Properties(
        client=bind(ClientProperties, client, f"{PREFIX}.client", _KNOWN, found),
        login=bind(LoginProperties, login, f"{PREFIX}.login", _KNOWN, found),
        registrations=registrations,
    )
    if not found.any_below(PREFIX):
        for key, problem in _problems(properties):
            found.add(key, problem)
    if mistakes is None:
        found.raise_all()
    return properties


def _section(tree: Mapping[str, Any] | None, path: str, mistakes: Mistakes) -> Mapping[Any, Any]:
    found: Any = tree
    walked = ""
    for name in path.split("."):
        found = (found or {}).get(name)
        walked = f"{walked}.{name}" if walked else name
        if found is not None and not isinstance(found, Mapping):
            problem = "must be a section with keys below it, got"
            mistakes.add(walked, f"{problem} {show(found, secret=True)}")
            return {}
    return found or {}


def _problems(properties: OAuth2Properties) -> Iterator[tuple[str, str]]:
    for name, each in properties.registrations.items():
        key = f"{_REGISTRATIONS}.{name}"
        if not each.client_id:
            yield f"{key}.client-id", "is required"
        if not each.use_pkce:
            yield f"{key}.use-pkce", "must be true: PKCE is always used"
        if each.issuer_uri is None and each.require_iss:
            yield f"{key}.require-iss", "true needs an issuer-uri, to tell whose answer it is"
        if each.issuer_uri is None:
            yield from _problems_without_issuer(key, each)
    login = f"{PREFIX}.login"
    if properties.login.secret is not None and len(properties.login.secret) < _SHORTEST_SECRET:
        yield f"{login}.secret", f"must have at least {_SHORTEST_SECRET} characters"
    if properties.login.enabled and not properties.client.enabled:
        yield f"{login}.enabled", f"true needs {PREFIX}.client.enabled: true"


def _problems_without_issuer(key: str, each: RegistrationProperties) -> Iterator[tuple[str, str]]:
    for name in ("authorization-uri", "token-uri", "user-info-uri"):
        if getattr(each, name.replace("-", "_")) is None:
            yield f"{key}.{name}", "is required where there is no issuer-uri"
    if "openid" in each.scopes:
        yield f"{key}.scopes", "with openid need an issuer-uri, to tell whose ID token it is"
