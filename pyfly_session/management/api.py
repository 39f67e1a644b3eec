"""The endpoints for programs: JSON in, JSON out."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pyfly_session.auto_configuration.conditions import conditions
from pyfly_session.errors import SessionStoreError
from pyfly_session.management import reports
from pyfly_session.management.operations import Operations, Refusal, status_of
from pyfly_session.management.request_body import read_json
from pyfly_session.management.session_lookup import Found

_TRUE = ("true", "1", "yes")
# All before a page are kept while it is looked for.
MOST_PAGES = 2000


class Api:
    """The JSON endpoints of a container.

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
            Route("/health", self.health),
            Route("/live", _answering(self.live)),
            Route("/counts", _answering(self.counts)),
            Route("/config", _answering(self.config)),
            Route("/conditions", _answering(self.conditions)),
            Route("/sessions", _answering(self.sessions), methods=["GET"]),
            Route("/sessions", _answering(self.end_all), methods=["DELETE"]),
            Route("/sessions/find", _answering(self.find), methods=["POST"]),
            Route("/sessions/end", _answering(self.end_by_id), methods=["POST"]),
            Route("/sessions/{handle}", _answering(self.one), methods=["GET"]),
            Route("/sessions/{handle}", _answering(self.end), methods=["DELETE"]),
        ]

    async def health(self, request: Request, *, details: bool = True) -> Response:
        """Answer whether the store works; 503 if it does not."""
        told = await reports.health(self._container, self._deadline)
        if not details:
            told = {"status": told["status"]}
        return Json(told, 200 if told["status"] == "UP" else 503)

    async def live(self, request: Request) -> Any:
        """Answer with health and counts at once, for the page; 200 however the store does."""
        return {
            "health": await reports.health(self._container, self._deadline),
            "counts": reports.figures(self._container),
        }

    async def counts(self, request: Request) -> Any:
        """Answer with what this process counted."""
        return reports.figures(self._container)

    async def config(self, request: Request) -> Any:
        """Answer with the effective configuration."""
        return {"properties": reports.configuration(self._container)}

    async def conditions(self, request: Request) -> Any:
        """Answer which bean was chosen, and why."""
        return {"beans": [dataclasses.asdict(each) for each in conditions(self._container)]}

    async def sessions(self, request: Request) -> Any:
        """Answer with the sessions of a user, or a page of all."""
        operations, query = Operations(self._container, request), request.query_params
        if "principal" in query:
            return {"sessions": await operations.of_principal(_principal(request))}
        told = await operations.overview(**overview_options(query))
        if told is None:
            raise Refusal(501, reports.cannot_list(self._container))
        if told["problem"] and not told["total"]:
            raise Refusal(503, told["problem"])
        return told

    async def one(self, request: Request) -> Any:
        """Answer with one session of a user."""
        operations = Operations(self._container, request)
        found = await operations.one(_principal(request), request.path_params["handle"])
        return _told(operations, found, values=request.query_params.get("values") in _TRUE)

    async def find(self, request: Request) -> Any:
        """Answer with one session by its id."""
        body = await read_json(request)
        operations = Operations(self._container, request)
        found = await operations.by_id(_text(body, "id"))
        return _told(operations, found, values=body.get("values") is True)

    async def end(self, request: Request) -> Any:
        """End one session of a user."""
        operations = Operations(self._container, request)
        found = await operations.one(_principal(request), request.path_params["handle"])
        return await _end(operations, found)

    async def end_by_id(self, request: Request) -> Any:
        """End one session by its id, or several by users and handles."""
        body = await read_json(request)
        operations = Operations(self._container, request)
        if "sessions" not in body:
            return await _end(operations, await operations.by_id(_text(body, "id")))
        given = body["sessions"]
        if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
            raise Refusal(400, "sessions must be a list of objects with principal and handle")
        picked = [(_text(each, "principal"), _text(each, "handle")) for each in given]
        handles = await operations.end_several(picked)
        return {"ended": len(handles), "handles": handles}

    async def end_all(self, request: Request) -> Any:
        """End all sessions of a user."""
        keep = request.query_params.get("keep", "")
        if keep not in ("", "own"):
            raise Refusal(400, "keep must be own, or be left out")
        operations = Operations(self._container, request)
        ended = await operations.end_all(_principal(request), keep_own=keep == "own")
        return {"ended": ended}


def overview_options(query: Mapping[str, str]) -> dict[str, Any]:
    """Return what an address asks of the overview."""
    number = query.get("page", "1")
    if not re.fullmatch("[0-9]{1,9}", number) or not 1 <= int(number) <= MOST_PAGES:
        raise Refusal(400, f"page must be a number from 1 to {MOST_PAGES}")
    return {
        "prefix": query.get("prefix", ""),
        "visitors": query.get("visitors") in _TRUE,
        "number": int(number),
        "whole": query.get("whole") in _TRUE,
    }


class Json(JSONResponse):
    """A JSON response whatever a session holds: half of a surrogate pair is sent escaped."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        return json.dumps(content).encode("ascii")


def _answering(call: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Any]:
    """Return an endpoint that answers with what a call returns, or why it did not."""

    async def endpoint(request: Request) -> Response:
        try:
            return Json(await call(request))
        except (Refusal, SessionStoreError) as error:
            return Json({"error": str(error)}, status_of(error))

    return endpoint


def _told(operations: Operations, found: Found, *, values: bool) -> dict[str, Any]:
    return {**operations.summary(found), "attributes": found.contents(values=values)}


async def _end(operations: Operations, found: Found) -> dict[str, Any]:
    await operations.end(found)
    return {"ended": 1, "handles": [found.handle]}


def _principal(request: Request) -> str:
    return request.query_params.get("principal", "")


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(400, f"{name} must be a text")
    return value
