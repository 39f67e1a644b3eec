"""Flask: bare, and with Flask-Session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, session

from benchmarks import work


def _site(
    session_of: Callable[[], Any], actions: dict[str, Callable[[Any], str]] | None = None
) -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/untouched", "untouched", lambda: work.untouched(None))

    def add(name: str, action: Callable[[Any], str]) -> None:
        app.add_url_rule(f"/{name}", name, lambda: action(session_of()))

    for name, action in {**work.ACTIONS, **(actions or {})}.items():
        add(name, action)

    @app.get("/mark/<name>")
    def mark(name: str) -> str:
        mine = session_of()
        mine.get("user")
        work.gate.wait_in_thread()
        return work.mark(mine, name)

    return app


def bare(url: str, lifetime: int | None = None) -> Flask:
    """Return the site without sessions."""
    data = work.session_data("small")
    return _site(lambda: data, {"logout": lambda session: work.USER})


def redis(url: str, lifetime: int | None = None) -> Flask:
    """Return the site with the sessions of Flask-Session, in Redis."""
    from flask_session import Session
    from redis import Redis

    app = _site(lambda: session)
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(url))
    Session(app)
    return app
