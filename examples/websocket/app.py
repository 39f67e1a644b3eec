"""A chat over WebSocket: who is logged in may talk, and whoever logs out is out at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from pyfly_session.auto_configuration import enable_sessions
from pyfly_session.security import SecurityContext, login, logout

PAGES = Path(__file__).parent
CONFIG: dict[str, Any] = {
    "enabled": True,
    "creation": "if-required",
    # The idle time of a browser's cookie is not prolonged by what is said in the chat.
    "cookie": {"persistent": False},
    "websocket": {"check-interval": 5},
}


class Room:
    """Everybody who is connected to this process."""

    def __init__(self) -> None:
        self.members: set[WebSocket] = set()

    async def say(self, text: str) -> None:
        """Tell everybody; who is gone meanwhile hears nothing."""
        for member in list(self.members):
            try:
                await member.send_text(text)
            except (WebSocketDisconnect, RuntimeError):
                self.members.discard(member)


def name_of(connection: Request | WebSocket) -> str | None:
    """Return who is logged in, or None."""
    context = connection.state.session.get_attribute("SECURITY_CONTEXT")
    return context.user_id if isinstance(context, SecurityContext) else None


async def home(request: Request) -> Response:
    page = "login.html" if name_of(request) is None else "chat.html"
    return HTMLResponse((PAGES / page).read_text("utf-8"))


async def log_in(request: Request) -> Response:
    form = await request.form()
    name = str(form.get("name", "")).strip()[:20]
    if name:
        # A real application checks a password first.
        await login(request, SecurityContext(user_id=name))
    return RedirectResponse("/", status_code=303)


async def log_out(request: Request) -> Response:
    await logout(request)
    return RedirectResponse("/", status_code=303)


async def chat(websocket: WebSocket) -> None:
    name, session, room = name_of(websocket), websocket.state.session, websocket.app.state.room
    if name is None:
        await websocket.close(1008, "log in first")
        return
    await websocket.accept()
    room.members.add(websocket)
    await room.say(f"{name} is here")
    try:
        # Ends when the browser leaves, and when the session ends: then it is closed for us.
        async for text in websocket.iter_text():
            # By a function: what is said in two tabs at once counts twice.
            said = session.update_attribute("said", lambda said: (said or 0) + 1)
            await room.say(f"{name} ({said}): {text[:500]}")
    finally:
        room.members.discard(websocket)
        await room.say(f"{name} has left")


def create_app(**session: Any) -> Starlette:
    """Return the application; sessions are in memory, or in Redis if its URL is given."""
    url = os.environ.get("REDIS_URL")
    if url:
        session = {"store": "redis", "redis": {"url": url}, **session}
    routes = [
        Route("/", home),
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
        WebSocketRoute("/chat", chat),
    ]
    app = Starlette(routes=routes)
    app.state.room = Room()
    return enable_sessions(app, config={"pyfly": {"session": {**CONFIG, **session}}})


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(create_app(), port=int(os.environ.get("PORT", "8000")))
