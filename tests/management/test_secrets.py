"""What is named like a secret is shown to no operator, and what merely sounds so is."""

from collections import deque
from collections.abc import Mapping

import pytest
from pydantic import BaseModel

from pyfly_session.management.session_lookup import shown_value
from tests.conftest import id_of
from tests.management.conftest import Person, Shop

SECRETS = [
    *("password", "oldPasswd", "client_secret", "id_token", "passphrase", "db-pwd", "PWD"),
    *("key", "keys", "api_key", "apikey", "apiKey", "APIKey", "X-Api-Key", "API_KEY_2"),
    *("private_key", "privatekey", "sshKey", "encryption.keys", "stripe key"),
    *("authorization", "Proxy-Authorization", "credential", "userCredentials"),
    *("jwt", "jwt_bearer", "idJWT", "otp", "otp_uri", "totp", "code_verifier", "codeVerifier"),
    *("csrf", "_csrf", "xsrf", "csrfmiddleware", "cookie", "Set-Cookie", "cookies"),
    *("session_id", "sessionId", "sessionid", "SESSION-ID", "PHPSESSID", "jsessionid"),
]
HARMLESS = [
    *("keyboard", "monkey", "turkey", "keyword", "keynote", "hockey", "hotkeys", "Keyboard layout"),
    *("key_prefix", "cookie_name", "cookieConsent", "authorization-uri", "authorizationEndpoint"),
    *("author", "authority", "credit", "option", "adopted", "session", "session_idle", "sessions"),
    *("code", "verified", "identity", "cart", "laptop", "biscuit", "name", ""),
]


def shown(shop: Shop, root: Person, form: Mapping[str, object]) -> object:
    """Return what an operator is shown of values that somebody's session has by their names."""
    alice = shop.person("alice")
    alice.remember("form", form)
    path = f"/manage/sessions/{shop.handle(alice)}?principal=alice&values=true"
    return root.json(path)["attributes"]["form"]


@pytest.fixture
def office(memory_shop: Shop) -> tuple[Shop, Person]:
    """Return a shop and its operator."""
    return memory_shop, memory_shop.person("root")


def test_what_is_named_like_a_secret_is_masked(office: tuple[Shop, Person]) -> None:
    assert shown(*office, dict.fromkeys(SECRETS, "hunter2")) == dict.fromkeys(SECRETS, "***")


def test_what_merely_sounds_so_is_shown(office: tuple[Shop, Person]) -> None:
    named = dict.fromkeys(HARMLESS, "green")
    assert shown(*office, named) == named


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("https://maps.test/?zoom=3&key=hunter2", "https://maps.test/?zoom=3&key=***"),
        ("/in?session_id=hunter2&next=/", "/in?session_id=***"),
        ("/search?keyword=green&page=2", "/search?keyword=green&page=2"),
        ("what?monkey=green", "what?monkey=green"),
    ],
)
def test_secret_in_address_is_masked(office: tuple[Shop, Person], url: str, hidden: str) -> None:
    assert shown(*office, {"address": url}) == {"address": hidden}


class Mail(BaseModel):
    user: str
    password: str


@pytest.mark.parametrize(
    "value",
    [
        Mail(user="alice", password="hunter2"), deque([Mail(user="alice", password="hunter2")]),
        deque([{"password": "hunter2"}]), [{"mail": ({"password": "hunter2"},)}],
    ],
    ids=id_of,
)  # fmt: skip
def test_secret_is_masked_within_whatever_a_session_can_hold(value: object) -> None:
    seen = str(shown_value("mail", value))
    assert "hunter2" not in seen
    assert "'password': '***'" in seen
