"""`HttpSession` is as handy as a dictionary, and says no more of itself than that."""

from collections.abc import Mapping

import pytest

from pyfly_session import HttpSession
from pyfly_session.core.change import Stored
from pyfly_session.core.codec import DEFAULT_CODEC

PAYLOAD = b'{"_created_at":1.0,"_last_accessed":1.0,"a":1,"none":null,"items":[1],"_own":2}'


@pytest.fixture
def session() -> HttpSession:
    return HttpSession.restore(Stored("a" * 32, PAYLOAD), DEFAULT_CODEC, 2.0)


def test_it_is_read_as_a_dictionary_is(session: HttpSession) -> None:
    assert (session["a"], session["_own"]) == (1, 2)
    assert "a" in session
    assert "none" in session
    assert "b" not in session
    assert (session.get("a"), session.get("b"), session.get("b", 5)) == (1, None, 5)
    assert session.get("none", 5) is None
    with pytest.raises(KeyError, match="'b'"):
        session["b"]


def test_names_of_libraries_do_not_count(session: HttpSession) -> None:
    assert (list(session), len(session)) == (["a", "none", "items"], 3)


def test_a_default_stands_for_what_is_not_there(session: HttpSession) -> None:
    for _ in range(2):
        assert session.get_attribute("b", "light") == "light"
        assert session.get_attribute("a", "light") == 1
        assert session.get_attribute("none", "light") is None
        # From here on the attributes are taken apart.
        session.attributes.read("a")
    session.remove_attribute("a")
    assert session.get_attribute("a", "light") == "light"


def test_it_is_changed_as_a_dictionary_is(session: HttpSession) -> None:
    session["b"] = 2
    session.update({"c": 3}, d=4)
    session.update([("e", 5)])
    del session["a"]
    assert session.setdefault("c", 9) == 3
    session.setdefault("cart", []).append("tea")
    assert (session.pop("d"), session.pop("d", None)) == (4, None)
    assert [session[name] for name in ("b", "c", "e", "cart")] == [2, 3, 5, ["tea"]]
    for missing in (lambda: session.pop("d"), lambda: session.__delitem__("d")):
        with pytest.raises(KeyError, match="'d'"):
            missing()
    assert session.pending


def test_an_empty_one_is_true_and_equal_to_itself_alone() -> None:
    first, second = HttpSession("a" * 32, {}), HttpSession("a" * 32, {})
    assert first
    assert len(first) == 0
    assert first != second
    assert len({first, second}) == 2
    assert not isinstance(first, Mapping)
