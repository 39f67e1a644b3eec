"""The least there is to a session: it counts, it is kept, it ends."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route

from pyfly_session import HttpSession
from pyfly_session.auto_configuration import enable_sessions

PAGE = """<!doctype html>
<title>Visits</title>
<p>This is visit {visits}.</p>
<form action="/forget" method="post"><button>Forget me</button></form>
"""


async def visits(request: Request) -> HTMLResponse:
    session: HttpSession = request.state.session
    # By a function: of two requests that meet, both are counted.
    count = session.update_attribute("visits", lambda visits: (visits or 0) + 1)
    return HTMLResponse(PAGE.format(visits=count))


async def forget(request: Request) -> RedirectResponse:
    request.state.session.invalidate()
    return RedirectResponse("/", status_code=303)


def create_app() -> Starlette:
    """Return the application; its sessions are in the memory of the process."""
    app = Starlette(routes=[Route("/", visits), Route("/forget", forget, methods=["POST"])])
    return enable_sessions(app, config={"pyfly": {"session": {"enabled": True}}})


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(create_app(), port=int(os.environ.get("PORT", "8000")))
