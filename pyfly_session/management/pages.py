"""The page for people: the same as the JSON endpoints, made on the server."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import MultiDict
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from pyfly_session.auto_configuration.conditions import conditions
from pyfly_session.config.masking import one_line
from pyfly_session.errors import SessionError, SessionStoreError
from pyfly_session.management import reports
from pyfly_session.management.api import overview_options
from pyfly_session.management.operations import Operations, Refusal, status_of
from pyfly_session.management.request_body import read_form
from pyfly_session.management.session_lookup import Found

_LONGEST_VALUE = 2_000
# How long the page waits for an answer: as long as the store may take, and for the way.
_LONGEST_PATIENCE, _TRAVEL_SECONDS = 60.0, 5.0
# What stands where there is nothing.
_NOTHING = "-"
_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self';"
    # The icon is an empty one, so that no browser asks for /favicon.ico.
    " img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_COUNT = re.compile(r"\d{1,9}")


class Pages:
    """The HTML pages of a container. Addresses in them are relative, so any mount will do.

    Args:
        container: The container, asked anew for each request.
        deadline: Seconds that the store has to show its health.
    """

    def __init__(self, container: Any, *, deadline: float) -> None:
        self._container = container
        self._deadline = deadline

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self._page(self.overview)),
            Route("/session", self._page(self.session)),
            Route("/find", self._page(self.find), methods=["POST"]),
            Route("/confirm", self._page(self.confirm)),
            Route("/confirm", self._page(self.confirm_several), methods=["POST"]),
            Route("/end", self._page(self.end), methods=["POST"]),
        ]

    async def overview(self, request: Request) -> Response:
        """Show figures, health, configuration, and the sessions of whom is asked for."""
        query = request.query_params
        principal, ended = query.get("principal", ""), query.get("ended", "")
        shown: dict[str, Any] = {"principal": principal}
        # Anybody can write anything into a link, so it must look like a number.
        if _COUNT.fullmatch(ended):
            shown["ended"] = int(ended)
        if principal:
            operations = Operations(self._container, request)
            shown["sessions"] = await operations.of_principal(principal)
            shown["operator"] = operations.operator
        return await self._overview(shown, request=request)

    async def session(self, request: Request) -> Response:
        """Show one session of a user."""
        operations, found = await self._named(request)
        values = request.query_params.get("values") == "true"
        return _render("session.html", **_told(operations, found, values=values))

    async def find(self, request: Request) -> Response:
        """Show one session by its id, which is in the body alone."""
        form = await read_form(request)
        operations = Operations(self._container, request)
        found = await operations.by_id(form.get("id", ""))
        if found.principal:
            return _see("session", principal=found.principal, handle=found.handle)
        return _render("session.html", **_told(operations, found, values=False))

    async def confirm(self, request: Request) -> Response:
        """Ask before anything is ended."""
        query = request.query_params
        principal = query.get("principal", "")
        if query.get("handle"):
            operations, found = await self._named(request)
            return _render("confirm.html", principal=principal, **_told(operations, found))
        operations = Operations(self._container, request)
        keep = query.get("keep") == "own"
        sessions = await operations.of_principal(principal)
        number = sum(1 for each in sessions if not (keep and each["own"]))
        own = any(each["own"] for each in sessions) and not keep
        return _render(
            "confirm.html", principal=principal, number=number, keep=keep, session={"own": own}
        )

    async def confirm_several(self, request: Request) -> Response:
        """Ask before those are ended that were picked."""
        form = await read_form(request)
        operations = Operations(self._container, request)
        picked = _picked(form)
        if not picked:
            raise Refusal(400, "pick at least one session")
        sessions = [operations.summary(await operations.one(*each)) for each in picked]
        own = any(each["own"] for each in sessions)
        return _render(
            "confirm.html", principal="", picked=sessions, session={"own": own}, back=_back(form)
        )

    async def end(self, request: Request) -> Response:
        """End what was confirmed, and go back to the sessions of the user."""
        form = await read_form(request)
        operations = Operations(self._container, request)
        principal = form.get("principal", "")
        if picked := _picked(form):
            ended = len(await operations.end_several(picked))
            return _see("./", **_back(form), ended=str(ended))
        if form.get("all") == "true":
            ended = await operations.end_all(principal, keep_own=form.get("keep") == "own")
        else:
            given = form.get("id")
            found = await (
                operations.by_id(given)
                if given is not None
                else operations.one(principal, form.get("handle", ""))
            )
            await operations.end(found)
            ended = 1
        return _see("./", principal=principal, ended=str(ended))

    async def _named(self, request: Request) -> tuple[Operations, Found]:
        query = request.query_params
        operations = Operations(self._container, request)
        return operations, await operations.one(query.get("principal", ""), query.get("handle", ""))

    async def _overview(
        self, shown: dict[str, Any], status: int = 200, *, request: Request
    ) -> Response:
        health, listed = await asyncio.gather(
            reports.health(self._container, self._deadline), self._listed(shown, request)
        )
        return _render(
            "overview.html",
            status,
            figures=reports.figures(self._container),
            health=health,
            listed=listed,
            query=_back(request.query_params),
            patience=round((min(self._deadline, _LONGEST_PATIENCE) + _TRAVEL_SECONDS) * 1000),
            configuration=reports.configuration(self._container),
            conditions=conditions(self._container),
            **shown,
        )

    async def _listed(self, shown: dict[str, Any], request: Request) -> dict[str, Any] | None:
        """Return a page of all sessions, unless those of one user are asked for."""
        if shown["principal"]:
            return None
        try:
            options = overview_options(request.query_params)
            listed = await Operations(self._container, request).overview(**options)
        except (Refusal, SessionError) as error:
            shown.setdefault("problem", str(error))
            return None
        if listed is None:
            shown["unlisted"] = reports.cannot_list(self._container)
        return listed

    def _page(self, call: Callable[[Request], Awaitable[Response]]) -> Any:
        """Return an endpoint that shows why something was not done."""

        async def endpoint(request: Request) -> Response:
            if importlib.util.find_spec("jinja2") is None:
                text = "The page needs the package jinja2: pip install 'pyfly-session[management]'"
                return PlainTextResponse(f"{text}\n", 501)
            try:
                return await call(request)
            except (Refusal, SessionStoreError) as error:
                status, problem = status_of(error), str(error)
            principal = request.query_params.get("principal", "")
            shown = {"problem": problem, "principal": principal}
            return await self._overview(shown, status, request=request)

        return endpoint


def _picked(form: MultiDict) -> list[tuple[str, str]]:
    """Return user and handle of each session that was picked in a form."""
    parted = (str(each).partition(" ") for each in form.getlist("pick"))
    return [(principal, handle) for handle, _, principal in parted]


def _back(given: Mapping[str, str]) -> dict[str, str]:
    """Return where in the overview one was."""
    names = ("prefix", "visitors", "page", "whole")
    return {name: str(given.get(name, "")) for name in names}


def _told(operations: Operations, found: Found, *, values: bool = False) -> dict[str, Any]:
    return {
        "session": operations.summary(found),
        "attributes": found.contents(values=values),
        "values": values,
    }


def _see(page: str, /, **query: str) -> Response:
    """Return the way to a page; 303 turns a POST into a GET, so that reloading repeats nothing."""
    return RedirectResponse(f"{page}?{_query(query)}", 303)


def _render(template: str, status: int = 200, **context: Any) -> Response:
    nonce = secrets.token_urlsafe(16)
    text = _templates().get_template(template).render(nonce=nonce, **context)
    # Half of a surrogate pair, which an attribute may hold, has no bytes in UTF-8.
    content = text.encode("utf-8", "replace")
    headers = {"Content-Security-Policy": _POLICY.format(nonce)}
    return HTMLResponse(content, status, headers)


@functools.cache
def _templates() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": _moment, "shown": _shown, "line": _line, "query": _query}
    environment.filters |= {"plain": _plain, "breakable": _breakable, "away": _away}
    environment.filters |= {"bytes": _bytes}
    return environment


def _query(values: Mapping[str, object]) -> str:
    """Return values as the query of an address, without those that are empty."""
    return urlencode({name: each for name, each in values.items() if each}, errors="replace")


def _line(value: object) -> str:
    """Return a name as one line, without what could turn it around."""
    return one_line(str(value))


def _breakable(name: str) -> Any:
    """Return a name that a narrow column breaks between its parts."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([._])", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped


def _moment(text: str) -> str:
    """Return a time for people; the table says that it is UTC."""
    return text.removesuffix("+00:00").replace("T", " ") or _NOTHING


def _away(text: str) -> str:
    """Return how far a time is from now, in one unit."""
    if not text:
        return _NOTHING
    seconds = (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= unit or unit == 1:
            far = f"{abs(seconds) / unit:.0f} {name}"
            return f"in {far}" if seconds > 0 else f"{far} ago"
    raise AssertionError


def _bytes(size: str) -> str:
    """Return a size for people."""
    if not size:
        return _NOTHING
    return f"{size} B" if int(size) < 1000 else f"{int(size) / 1000:,.1f} kB"


def _plain(value: Any) -> str:
    """Return a configured value as the command line shows it."""
    return _NOTHING if value is None else _shown(value) if value != "" else '""'


def _shown(value: Any) -> str:
    """Return a value as a text of bearable length."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…")
