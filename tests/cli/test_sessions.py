"""``pyfly-session sessions``: a user's sessions seen and ended while the application runs."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography.fernet import Fernet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pyfly_session import SecurityContext, allow_session_type, enable_sessions, ids, login
from pyfly_session.cli.common import UNREACHED
from tests.cli.conftest import Run, write
from tests.support.cases import for_each
from tests.support.types import Patch


@dataclass
class Cart:
    """What only the application knows."""

    items: list[int]


allow_session_type(Cart, tag="tests.cli.Cart")


async def log_in(request: Request) -> PlainTextResponse:
    await login(request, SecurityContext(user_id=request.path_params["user"]))
    request.state.session.set_attribute("cart", Cart([1, 2]))
    request.state.session.set_attribute("provider", {"id_token": "hunter2", "name": "green"})
    return PlainTextResponse("")


async def who(request: Request) -> PlainTextResponse:
    context = request.state.session.get_attribute("SECURITY_CONTEXT")
    return PlainTextResponse(context.user_id if context else "nobody")


@pytest.fixture(params=["plain", "hashed and encrypted"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return how the sessions are stored."""
    kind: str = request.param
    return kind


@pytest.fixture
def shop(kind: str, folder: Path, valkey_url: str) -> Iterator[TestClient]:
    """Return a running application whose configuration the commands read."""
    session: dict[str, Any] = {"enabled": True, "store": "redis", "redis": {"url": valkey_url}}
    if kind != "plain":
        session["hash-ids"] = True
        session["encryption"] = {"keys": [Fernet.generate_key().decode()]}
    # JSON is YAML.
    write(folder, pyfly=json.dumps({"pyfly": {"session": session}}))
    with redis.Redis.from_url(valkey_url) as client:
        client.flushdb()
    app = enable_sessions(Starlette(routes=[Route("/in/{user}", log_in), Route("/", who)]))
    with TestClient(app) as client:
        yield client


class Browser:
    """A browser of somebody who is logged in; all share the one event loop of the shop."""

    def __init__(self, shop: TestClient, user: str) -> None:
        self._shop = shop
        shop.cookies.clear()
        assert shop.get(f"/in/{user}").status_code == 200
        self.session_id = str(shop.cookies["PYFLY_SESSION"])

    def who(self) -> str:
        self._shop.cookies.clear()
        self._shop.cookies.set("PYFLY_SESSION", self.session_id)
        return self._shop.get("/").text


def browser(shop: TestClient, user: str = "alice") -> Browser:
    return Browser(shop, user)


def id_of(browser: Browser) -> str:
    return browser.session_id


def listed(run: Run, user: str = "alice", *options: str) -> list[dict[str, str]]:
    result = run("sessions", "list", "--principal", user, "--json", *options)
    assert result.exit_code == 0, result.output
    rows: list[dict[str, str]] = json.loads(result.stdout)["sessions"]
    return rows


def test_the_sessions_of_a_user_are_listed_and_of_nobody_else(shop: TestClient, run: Run) -> None:
    for user in ("alice", "bob", "alice"):
        browser(shop, user)
    rows = listed(run)
    assert [each["principal"] for each in rows] == ["alice", "alice"]
    assert len({each["handle"] for each in rows}) == 2
    assert all(each["logged_in_at"].endswith("+00:00") for each in rows)
    lines = run("sessions", "list", "--principal", "bob").output.splitlines()
    assert lines[0].split() == ["Handle", "Logged", "in", "By", "Last", "written", "Created"]
    assert len(lines) == 2
    assert run("sessions", "list", "--principal", "carol").output == "carol has no sessions.\n"


def test_all_sessions_are_listed_by_the_front_of_the_names(shop: TestClient, run: Run) -> None:
    people = [browser(shop, user) for user in ("anna", "alice", "bob")]
    shop.cookies.clear()
    shop.get("/")
    found = json.loads(run("sessions", "list", "--prefix", "a", "--json").stdout)
    assert sorted(each["principal"] for each in found["sessions"]) == ["alice", "anna"]
    assert (found["matching"], found["total"], found["logged_in"]) == (2, 4, 3)
    assert all(each["ends_at"] > each["last_used"] for each in found["sessions"])
    lines = run("sessions", "list", "--limit", "2").stdout.splitlines()
    headings = ["User", "Handle", "Last used", "Ends if not used", "Logged in", "By", "Bytes"]
    assert re.split(r" {2,}", lines[0]) == headings
    assert lines[-1] == "2 of 3 sessions; 4 in all, 3 of users who are logged in."
    everybody = run("sessions", "list", "--visitors").stdout
    assert "4 of 4 sessions" in everybody
    assert not [each for each in people if id_of(each) in everybody]


@pytest.mark.parametrize("kind", ["plain"])
def test_long_list_says_how_far_it_is(shop: TestClient, run: Run, monkeypatch: Patch) -> None:
    monkeypatch.setattr("pyfly_session.cli.sessions._WAITING_SECONDS", 0.0)
    browser(shop)
    result = run("sessions", "list", "--json")
    assert re.search(r"^Looked at 1 sessions in redis://", result.stderr, re.M)
    assert json.loads(result.stdout)["total"] == 1


def test_ids_are_shown_only_if_asked_for(shop: TestClient, run: Run, kind: str) -> None:
    session_id = id_of(browser(shop))
    arguments = ("sessions", "list", "--principal", "alice")
    plain, full = run(*arguments).output, run(*arguments, "--full-ids").output
    assert session_id not in plain
    if kind == "plain":
        assert session_id in full
        # The one of log lines.
        assert ids.mask(session_id)[1:] in plain
    handle = listed(run)[0]["handle"]
    shown = run("sessions", "show", handle, "--principal", "alice").output
    assert session_id not in shown
    [row] = listed(run, "alice", "--full-ids")
    # What is shown can be given back, under hashing the hash.
    assert json.loads(run("sessions", "show", row["id"], "--json").stdout)["handle"] == handle


def test_a_session_is_shown_without_its_values(shop: TestClient, run: Run) -> None:
    session_id = id_of(browser(shop))
    session = json.loads(run("sessions", "show", session_id, "--json").stdout)
    assert session["principal"] == "alice"
    assert [session["handle"]] == [each["handle"] for each in listed(run)]
    assert session["attributes"] == {
        "SECURITY_CONTEXT": "SecurityContext", "cart": "Cart", "provider": "dict",
    }  # fmt: skip
    output = run("sessions", "show", session_id).output
    assert "User          alice" in output.splitlines()
    assert "hunter2" not in output


def test_values_are_shown_if_asked_for_but_no_secrets(shop: TestClient, run: Run) -> None:
    session_id = id_of(browser(shop))
    arguments = ("sessions", "show", session_id, "--values")
    attributes = json.loads(run(*arguments, "--json").stdout)["attributes"]
    assert attributes["cart"] == {"items": [1, 2]}
    assert attributes["provider"] == {"id_token": "***", "name": "green"}
    assert attributes["SECURITY_CONTEXT"]["user_id"] == "alice"
    assert '{"id_token": "***", "name": "green"}' in run(*arguments).output


@pytest.mark.parametrize("kind", ["plain"])
def test_types_of_the_application_need_not_be_known(shop: TestClient, folder: Path) -> None:
    session_id = id_of(browser(shop))
    command = [sys.executable, "-c", "from pyfly_session.cli import main; main()"]
    done = subprocess.run(  # noqa: S603 - our own command line
        [*command, "sessions", "show", "-", "--values"],
        input=session_id,
        capture_output=True,
        encoding="utf-8",
        cwd=folder.parent,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0
    assert 'cart              {"items": [1, 2]}' in done.stdout.splitlines()
    assert done.stderr == ""


def test_an_ended_session_is_logged_out_and_the_others_are_not(shop: TestClient, run: Run) -> None:
    phone, laptop = browser(shop), browser(shop)
    first, second = (each["handle"] for each in listed(run))
    result = run("sessions", "end", f"#{first}", "--principal", "alice", "--yes", "--json")
    assert json.loads(result.stdout) == {"ended": 1, "handles": [first]}
    assert [each["handle"] for each in listed(run)] == [second]
    assert (phone.who(), laptop.who()) == ("nobody", "alice")


def test_all_sessions_of_a_user_are_ended(shop: TestClient, run: Run) -> None:
    phone, laptop, other = browser(shop), browser(shop), browser(shop, "bob")
    result = run("sessions", "end", "--principal", "alice", "--yes")
    assert (result.exit_code, result.stdout) == (0, "Ended 2 sessions.\n")
    told, audit = result.stderr.splitlines()
    assert told == "Ending 2 sessions of alice …"
    # Whoever keeps what the command says has who, when and whom.
    assert re.fullmatch(
        r"20..-..-.. ..:..:..,... 2 sessions of 'alice' were ended by '.+ on the command line'",
        audit,
    )
    assert [each.who() for each in (phone, laptop, other)] == ["nobody", "nobody", "bob"]
    again = run("sessions", "end", "--principal", "alice", "--yes")
    assert (again.exit_code, again.stdout) == (0, "alice has no sessions.\n")


@pytest.mark.parametrize("kind", ["plain"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["people", "programs"])
def test_people_at_terminal_see_how_far_it_is(shop: TestClient, options: list[str]) -> None:
    for _ in range(3):
        browser(shop)
    command = [sys.executable, "-c", "from pyfly_session.cli import main; main()"]
    ours, theirs = os.openpty()
    done = subprocess.run(  # noqa: S603 - our own command line
        [*command, "sessions", "end", "--principal", "alice", "--yes", *options],
        stdout=subprocess.PIPE,
        stderr=theirs,
        encoding="utf-8",
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert ("100%" in shown) == (not options)
    assert "%" not in done.stdout


@pytest.mark.parametrize("arguments", [["list"], ["show", "abcd"], ["end", "--yes"]])
def test_people_are_told_what_a_slow_command_waits_for(
    folder: Path, run: Run, monkeypatch: Patch, arguments: list[str]
) -> None:
    monkeypatch.setattr("pyfly_session.cli.sessions._WAITING_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://:hunter2@127.0.0.1:{silent.getsockname()[1]}/0"
        settings = {"url": url, "timeout": 0.2, "connect-timeout": 0.2, "retries": 0}
        session = {"enabled": True, "store": "redis", "redis": settings}
        write(folder, pyfly=json.dumps({"pyfly": {"session": session}}))
        result = run("sessions", *arguments, "--principal", "alice")
    assert result.exit_code == 1
    assert f"Waiting for {url.replace('hunter2', '***')} …\n" in result.stderr


def test_a_session_is_ended_by_its_id(shop: TestClient, run: Run) -> None:
    phone, laptop = browser(shop), browser(shop)
    assert run("sessions", "end", id_of(phone), "--yes").stdout == "Ended 1 session.\n"
    assert run("sessions", "end", "-", "--yes", input=f"{id_of(laptop)}\n").exit_code == 0
    assert [each.who() for each in (phone, laptop)] == ["nobody", "nobody"]
    result = run("sessions", "end", id_of(phone), "--yes")
    assert (result.exit_code, "Error: there is no session #" in result.output) == (1, True)
    assert id_of(phone) not in result.output


@for_each("answer", ["n\n", "\n", ""])
@for_each("which", ["one", "all"])
def test_nothing_is_ended_without_yes(shop: TestClient, run: Run, answer: str, which: str) -> None:
    client = browser(shop)
    given = [id_of(client)] if which == "one" else ["--principal", "alice"]
    result = run("sessions", "end", *given, "--json", input=answer)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == {
        "message": "nobody said yes, so nothing was done", "key": None, "remedy": "use --yes",
    }  # fmt: skip
    assert "of alice?" in result.stderr
    assert (client.who(), run("sessions", "end", *given, input="y\n").exit_code) == ("alice", 0)
    assert client.who() == "nobody"


def test_a_part_of_a_handle_is_enough_unless_it_fits_two(
    shop: TestClient, run: Run, monkeypatch: Patch
) -> None:
    browser(shop)
    handle = listed(run)[0]["handle"]
    arguments = ("--principal", "alice")
    assert run("sessions", "show", handle[:4], *arguments).exit_code == 0
    too_short = run("sessions", "show", handle[:3], *arguments)
    message = f"Error: a handle needs at least its first 4 characters, got '{handle[:3]}'\n"
    assert (too_short.exit_code, too_short.output) == (1, message)
    browser(shop)
    masks = iter(["#abcdef0001", "#abcdef0002"] * 9)
    monkeypatch.setattr(ids, "mask", lambda session_id: next(masks))
    result = run("sessions", "end", "abcdef", *arguments, "--yes")
    assert result.exit_code == 1
    assert "abcdef could be any of abcdef0001, abcdef0002" in result.output


@pytest.mark.parametrize("kind", ["plain"])
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["show", "0123456789"], 1, "a handle needs --principal NAME"),
        (["show", "0123456789", "--principal", "bob"], 1, "bob has no session 0123456789"),
        (
            ["show", "0123456789", "--principal", "b b"],
            1,
            "see: pyfly-session sessions list --principal 'b b'",
        ),
        (["show", "principal:0123"], 1, "an id consists of letters, digits"),
        (["end"], 2, "say which: an ID, --principal NAME, or both"),
        (["end", "-"], 2, "an id from the input needs --yes"),
        (["list", "--principal", "bob", "--prefix", "b"], 2, "--principal names one user"),
        (["end", "alice", "--yes"], 1, "for those of a user: --principal alice"),
        (["end", "a@b.example", "--yes"], 1, "for those of a user: --principal a@b.example"),
        (["list", "--principal", ""], 2, "a name is not empty"),
        (["show", "0123456789", "--principal", ""], 2, "a name is not empty"),
        (["end", "--principal", "", "--yes"], 2, "a name is not empty"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_what_cannot_be_meant_is_refused(
    run: Run, arguments: list[str], status: int, message: str
) -> None:
    result = run("sessions", *arguments)
    assert result.exit_code == status
    assert message in result.output


def test_sessions_in_memory_are_out_of_reach(folder: Path, run: Run) -> None:
    write(folder, pyfly="pyfly: {session: {enabled: true}}")
    result = run("sessions", "list", "--principal", "alice")
    assert result.exit_code == 1
    assert "in the memory of each process" in result.output


def test_a_dead_server_is_one_sentence(folder: Path, run: Run) -> None:
    url = "redis://:hunter2@127.0.0.1:1"
    write(folder, pyfly=f"pyfly: {{session: {{store: redis, redis: {{url: '{url}'}}}}}}")
    result = run("sessions", "list", "--principal", "alice")
    assert result.exit_code == 1
    assert result.output.startswith("Error: the session store was not reached")
    assert result.output.endswith(f"; {UNREACHED}\n")
    assert "hunter2" not in result.output
