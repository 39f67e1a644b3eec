"""Django: bare, and with sessions in its cache, in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks import work

urlpatterns: list[Any] = []


def _site(
    session_of: Callable[[HttpRequest], Any],
    actions: dict[str, Callable[[Any], str]],
    **options: Any,
) -> WSGIHandler:
    def view(action: Callable[[Any], str]) -> Callable[[HttpRequest], HttpResponse]:
        return lambda request: HttpResponse(action(session_of(request)), "text/plain")

    def mark(request: HttpRequest, name: str) -> HttpResponse:
        session = session_of(request)
        session.get("user")
        work.gate.wait_in_thread()
        return HttpResponse(work.mark(session, name), "text/plain")

    urlpatterns.append(path("untouched", lambda request: HttpResponse(work.untouched(None))))
    for name, action in {**work.ACTIONS, **actions}.items():
        urlpatterns.append(path(name, view(action)))
    urlpatterns.append(path("mark/<name>", mark))
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="s" * 50, **options)
    django.setup()
    return get_wsgi_application()


def bare(url: str, lifetime: int | None = None) -> WSGIHandler:
    """Return the site without sessions."""
    data = work.session_data("small")
    return _site(lambda request: data, {"logout": lambda session: work.USER}, MIDDLEWARE=[])


def redis(url: str, lifetime: int | None = None) -> WSGIHandler:
    """Return the site with ``cache`` sessions over Django's Redis cache."""

    def logout(session: Any) -> str:
        session.flush()
        return work.USER

    return _site(
        lambda request: request.session,
        {"logout": logout},
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        CACHES={
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
        },
    )
