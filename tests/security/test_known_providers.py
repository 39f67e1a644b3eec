"""Registrations at providers that many use, in one line."""

from pyfly_session.security.oauth2 import ClientRegistration
from pyfly_session.security.oauth2.claims import claims_to_context


def test_google_is_discovered() -> None:
    made = ClientRegistration.google("shop", "s3cret")
    assert (made.registration_id, made.client_id) == ("google", "shop")
    assert made.issuer_uri == "https://accounts.google.com"
    assert made.is_openid
    assert "s3cret" not in repr(made)


def test_github_tells_users_by_their_number() -> None:
    made = ClientRegistration.github("shop", "s3cret")
    assert not made.is_openid
    assert all((made.authorization_uri, made.token_uri, made.user_info_uri))
    assert claims_to_context(made, {"id": 7, "login": "a-name-that-changes"}).user_id == "7"


def test_the_roles_of_a_realm_are_those_of_its_users() -> None:
    made = ClientRegistration.keycloak("shop", issuer_uri="https://sso.example.org/realms/shop")
    assert made.is_openid
    claims = {"sub": "alice", "realm_access": {"roles": ["ADMIN"]}}
    assert claims_to_context(made, claims).roles == ["ADMIN"]


def test_everything_can_be_another() -> None:
    made = ClientRegistration.google("shop", "s3cret", registration_id="work", scopes=("openid",))
    assert (made.registration_id, made.scopes) == ("work", ("openid",))
    assert ClientRegistration.github("a", "b", provider_name="Hub").provider_name == "Hub"
    at = "https://sso.example.org/realms/a"
    assert ClientRegistration.keycloak("a", issuer_uri=at, role_claims=()).role_claims == ()
