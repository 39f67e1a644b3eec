"""The page for people: what it shows, escaped, and what its forms do."""

import html
import re
import sys
from typing import Any

from pyfly_session.errors import SessionStoreUnavailableError
from tests.management.conftest import OpenShop, Person, Shop
from tests.support.cases import for_each
from tests.support.types import Patch

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "</style><script>alert(1)</script>",
    "a&b=c#d?e/../f%00%0d%0aSet-Cookie: x=y",
    "\u202egnp.exe\u0000\u001b[2J",
]


def forms(text: str) -> list[tuple[str, dict[str, str]]]:
    """Return the action of each form that posts, and its hidden fields."""
    found = []
    for form in re.findall(r'<form method="post"(.*?)</form>', text, re.S):
        action = re.search(r'action="([^"]*)"', form)
        assert action
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
        found.append((action[1], {name: html.unescape(value) for name, value in hidden}))
    return found


def link(text: str, label: str) -> str:
    """Return where a link leads, from the page at the root of the mount."""
    [target] = re.findall(rf'<a [^>]*href="([^"]*)">{label}', text)
    return f"/manage/{html.unescape(target)}"


def test_an_operator_searches_asks_and_ends(shop: Shop, root: Person) -> None:
    phone, laptop = shop.person("alice"), shop.person("alice")
    page = root.get("/manage/", params={"principal": "alice"}).text
    assert "<b>alice</b> has 2 sessions" in page
    label = f'End<span class="unseen"> session {shop.handle(phone)}'
    question = root.get(link(page, label)).text
    assert f"End the session <code>{shop.handle(phone)}</code> of alice?" in question
    assert phone.who() == "alice"
    [(action, fields)] = forms(question)
    result = root.post(f"/manage/{action}", data=fields)
    assert "1 session was ended." in result.text
    assert "<b>alice</b> has 1 session<" in result.text
    assert (phone.who(), laptop.who()) == ("nobody", "alice")


def test_a_form_answers_with_a_redirect_so_that_a_reload_repeats_nothing(memory_shop: Shop) -> None:
    root, _ = memory_shop.person("root"), memory_shop.person("alice")
    data = {"principal": "alice", "all": "true"}
    answer = root.post("/manage/end", data=data, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "./?principal=alice&ended=1")


def test_all_but_the_one_in_use_are_ended(shop: Shop, root: Person) -> None:
    elsewhere = shop.person("root")
    page = root.get("/manage/", params={"principal": "root"}).text
    assert page.count('<span class="own">yours</span>') == 1
    question = root.get(link(page, "End all but yours"))
    assert "End 1 session of root, and keep yours?" in question.text
    assert "you will be logged out" not in question.text
    [(_, fields)] = forms(question.text)
    assert "1 session was ended." in root.post("/manage/end", data=fields).text
    assert (elsewhere.who(), root.who()) == ("nobody", "root")


def test_whoever_ends_the_session_in_use_is_told_before(memory_shop: Shop) -> None:
    root = memory_shop.person("root")
    page = root.get("/manage/", params={"principal": "root"}).text
    assert "End all but yours" not in page
    question = root.get(link(page, "End all…")).text
    assert "the session that you are using now" in question
    [(_, fields)] = forms(question)
    assert (root.post("/manage/end", data=fields).status_code, root.who()) == (403, "nobody")


def test_nobody_else_is_offered_to_keep_theirs(memory_shop: Shop) -> None:
    root = memory_shop.person("root")
    for _ in range(2):
        memory_shop.person("alice")
    assert "End all but yours" not in root.get("/manage/?principal=alice").text


def test_an_anonymous_session_is_shown_by_its_id_and_ended_by_it(shop: Shop, root: Person) -> None:
    visitor = shop.visitor()
    visitor.remember("cart", [1])
    page = root.post("/manage/find", data={"id": visitor.session_id})
    assert "nobody is logged in" in page.text
    assert "<code>cart</code>" in page.text
    assert str(visitor.session_id) not in page.text
    ended = root.post("/manage/end", data={"id": visitor.session_id})
    assert "1 session was ended." in ended.text
    again = root.post("/manage/end", data={"id": visitor.session_id})
    assert again.status_code == 404
    assert "there is no session #" in again.text
    assert str(visitor.session_id) not in again.text


def test_an_id_leads_to_the_page_of_a_user_s_session(shop: Shop, root: Person) -> None:
    alice = shop.person("alice")
    page = root.post("/manage/find", data={"id": f" {alice.session_id}\n"})
    assert page.url.path == "/manage/session"
    assert str(alice.session_id) not in str(page.url)
    assert f"Session <code>{shop.handle(alice)}</code>" in page.text


def test_values_are_shown_if_asked_for_but_no_secrets(memory_shop: Shop) -> None:
    root, alice = memory_shop.person("root"), memory_shop.person("alice")
    alice.remember("provider", {"id_token": "hunter2", "name": "green"})
    alice.remember("long", "x" * 5_000)
    query = {"principal": "alice", "handle": memory_shop.handle(alice)}
    page = root.get("/manage/session", params=query).text
    assert "green" not in page
    values = root.get(link(page, "Show the values")).text
    assert "green" in values
    assert "hunter2" not in values
    assert 2_000 < values.count("x" * 100) * 100 + 100 < 2_200


@for_each("text", HOSTILE)
def test_names_and_values_are_text_and_nothing_else(memory_shop: Shop, text: str) -> None:
    shop, root = memory_shop, memory_shop.person("root")
    person = shop.person(text)
    assert shop.visitor().who() == "nobody"
    person.remember(text, {text: [text]})
    handle = shop.handle(person)
    query = {"principal": text, "handle": handle}
    pages = [
        root.get("/manage/", params={"principal": text}),
        root.get("/manage/session", params={**query, "values": "true"}),
        root.get("/manage/confirm", params=query),
        root.get("/manage/confirm", params={"principal": text}),
        root.get("/manage/", params={"principal": text, "ended": text}),
        root.get("/manage/session", params={"principal": text, "handle": "abcdef"}),
    ]
    assert [page.status_code for page in pages] == [200] * 5 + [404]
    for page in pages:
        # A field gives back what it got, whatever a browser makes of it.
        shown = re.sub(r'value="[^"]*"', "", page.text)
        assert text not in shown or not set(text) & set("<>'\"&\u202e")
        # Whatever begins a tag was written by us.
        assert page.text.count("<script") == page.text.count("<script nonce=") <= 1
        assert "<img" not in page.text
        assert "49" not in re.findall(r"<h2 id=\"found\"><b>(.*?)</b>", page.text)
        assert not re.search(r'href="\s*javascript', page.text)
        assert "set-cookie" not in page.headers or "x=y" not in page.headers["set-cookie"]
    # What the page says comes back as it was.
    [(_, fields)] = forms(pages[2].text)
    assert "1 session was ended." in root.post("/manage/end", data=fields).text
    assert person.who() == "nobody"


@for_each("ended", ["-1", "1e9", "<b>", "9999999999", ""])
def test_a_link_cannot_put_words_into_the_message(memory_shop: Shop, ended: str) -> None:
    page = memory_shop.person("root").get("/manage/", params={"ended": ended})
    assert 'role="status"' not in page.text


def test_surrogates_and_no_number_are_shown(open_shop: OpenShop, monkeypatch: Patch) -> None:
    shop = open_shop()
    root, alice = shop.person("root"), shop.person("alice")
    strange = {"a\ud800": "b\udfff", "c": [float("nan"), float("inf")]}
    monkeypatch.setattr(
        "pyfly_session.management.operations.Found.contents", lambda self, values: strange
    )
    query = f"principal=alice&handle={shop.handle(alice)}&values=true"
    assert root.get(f"/manage/session?{query}").status_code == 200
    assert root.get(f"/manage/sessions/{shop.handle(alice)}?{query}").status_code == 200


def test_script_and_style_are_those_of_the_nonce(memory_shop: Shop) -> None:
    root = memory_shop.person("root")
    pages = [root.get("/manage/") for _ in range(2)]
    nonces = [set(re.findall(r'nonce="([^"]+)"', page.text)) for page in pages]
    assert [len(each) for each in nonces] == [1, 1]
    assert nonces[0] != nonces[1]
    [nonce] = nonces[0]
    assert f"script-src 'nonce-{nonce}'" in pages[0].headers["content-security-policy"]
    assert " style=" not in pages[0].text
    assert not re.findall(r"\son\w+=", pages[0].text)
    sources = re.findall(r'(?:src|href)="([^"]+)"', pages[0].text)
    assert not [each for each in sources if "//" in each]


def test_the_page_shows_what_the_endpoints_tell(memory_shop: Shop) -> None:
    root = memory_shop.person("root")
    page = root.get("/manage/").text.replace("<wbr>", "")
    assert '<b aria-live="polite">UP</b>' in page
    assert "<dt>Sessions in the store</dt><dd>1</dd>" in page
    assert "<code>pyfly.session.ttl</code>" in page
    assert "<code>session_store</code>" in page


def test_values_of_properties_are_shown_as_on_the_command_line(memory_shop: Shop) -> None:
    page = memory_shop.person("root").get("/manage/").text.replace("<wbr>", "")
    row = re.search(r"<code>pyfly.session.max-lifetime</code>.*?</tr>", page)
    assert row
    assert '<td data-label="Value">-</td>' in row[0]


def test_a_store_that_fails_is_said_on_the_page(memory_shop: Shop, monkeypatch: Patch) -> None:
    root = memory_shop.person("root")

    async def fail(*args: Any) -> Any:
        raise SessionStoreUnavailableError("the session store was not reached", operation="get")

    monkeypatch.setattr("pyfly_session.PrincipalSessions.find_by_principal", fail)
    answer = root.get("/manage/?principal=alice")
    assert answer.status_code == 503
    assert '<p class="message bad" role="alert">the session store was not reached' in answer.text


@for_each(
    ("data", "status", "message"),
    [
        ({"x": "y"}, 400, "a handle has 4 to 10 hex digits"),
        ({"principal": "alice"}, 400, "a handle has 4 to 10 hex digits"),
        ({"principal": "alice", "handle": "abcdef"}, 404, "alice has no session abcdef"),
        ({"all": "true"}, 400, "principal is missing"),
        ({"id": ""}, 400, "an id consists of letters"),
    ],
)
def test_a_form_without_what_it_needs_ends_nothing(
    memory_shop: Shop, data: dict[str, str], status: int, message: str
) -> None:
    root, alice = memory_shop.person("root"), memory_shop.person("alice")
    answer = root.post("/manage/end", data=data)
    assert (answer.status_code, message in html.unescape(answer.text)) == (status, True)
    assert alice.who() == "alice"


@for_each("content", [b"id=%ff" * 9, b"&" * 99 + b"a=b", b"\xff\xfe=x"])
def test_a_strange_form_is_refused(memory_shop: Shop, content: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    root = memory_shop.person("root")
    assert root.post("/manage/end", content=content, headers=headers).status_code == 400
    assert root.post("/manage/end", files={"id": b"x"}).status_code == 415


def test_without_jinja2_page_says_what_to_install(memory_shop: Shop, monkeypatch: Patch) -> None:
    root = memory_shop.person("root")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    answer = root.get("/manage/")
    assert answer.status_code == 501
    assert "pip install 'pyfly-session[management]'" in answer.text
    assert root.get("/manage/counts").status_code == 200
