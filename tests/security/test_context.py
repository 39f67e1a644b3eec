"""`SecurityContext`: what it answers, and how it travels through a store."""

import dataclasses
import json
from typing import Any

import pytest

from pyfly_session import SecurityContext, SessionCodec
from pyfly_session.errors import SessionDecodingError
from pyfly_session.security import ORIGINAL_TAG
from tests.support.cases import for_each

ALICE = SecurityContext("alice", ["ADMIN", "USER"], ["order:read"], {"email": "a@example.org"})


def test_it_answers_about_roles_and_permissions() -> None:
    assert ALICE.is_authenticated
    assert ALICE.has_role("ADMIN")
    assert not ALICE.has_role("admin")
    assert ALICE.has_any_role(["GUEST", "USER"])
    assert not ALICE.has_any_role([])
    assert ALICE.has_permission("order:read")
    assert not ALICE.has_permission("order")


def test_the_anonymous_context_has_nothing() -> None:
    anonymous = SecurityContext.anonymous()
    assert anonymous == SecurityContext()
    assert not anonymous.is_authenticated
    assert not anonymous.has_any_role(["USER"])


def test_an_empty_user_id_is_nobody() -> None:
    assert not SecurityContext(user_id="").is_authenticated


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ALICE.user_id = "bob"  # type: ignore[misc]


@for_each(
    "wrong",
    [
        {"user_id": 7}, {"roles": "ADMIN"}, {"roles": {"ADMIN": True}}, {"roles": ["ADMIN", 7]},
        {"permissions": None}, {"attributes": ["email"]},
    ],
)  # fmt: skip
def test_a_field_holds_only_what_it_can(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        SecurityContext(**wrong)
    stored = json.dumps({"__pyfly_type__": ORIGINAL_TAG, "user_id": "alice", **wrong}).encode()
    with pytest.raises(SessionDecodingError):
        SessionCodec().decode(stored)


def test_a_text_is_no_list_of_roles() -> None:
    with pytest.raises(TypeError):
        ALICE.has_any_role("ADMIN")


def test_it_can_be_stored_without_being_allowed_first() -> None:
    codec = SessionCodec()
    assert codec.decode(codec.encode("SECURITY_CONTEXT", ALICE)) == ALICE


def test_what_the_original_wrote_is_read() -> None:
    stored = (
        b'{"user_id":"alice","roles":["ADMIN","USER"],"permissions":["order:read"],'
        b'"attributes":{"email":"a@example.org"},'
        b'"__pyfly_type__":"pyfly.security.context:SecurityContext"}'
    )
    assert SessionCodec().decode(stored) == ALICE


def test_fields_of_a_newer_node_are_ignored_and_missing_ones_default() -> None:
    stored = b'{"user_id":"alice","tenant":"t1","__pyfly_type__":"%s"}' % ORIGINAL_TAG.encode()
    assert SessionCodec().decode(stored) == SecurityContext("alice")


def test_the_tag_of_the_original_is_written_on_demand() -> None:
    codec = SessionCodec()
    own = json.loads(codec.encode("a", ALICE))
    assert own["__pyfly_type__"] == "pyfly_session.security.context:SecurityContext"
    codec.allow(SecurityContext, tag=ORIGINAL_TAG, write=True)
    assert json.loads(codec.encode("a", ALICE))["__pyfly_type__"] == ORIGINAL_TAG
    assert codec.decode(json.dumps(own).encode()) == ALICE
