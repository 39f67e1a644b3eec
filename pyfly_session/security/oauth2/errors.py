"""What a user sees when a login fails: a page, or JSON for a program."""

from __future__ import annotations

import html

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from pyfly_session.errors import SessionError
from pyfly_session.security.navigation import accepts_html

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Login failed</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 sans-serif; margin: 4rem auto; max-width: 32rem; padding: 0 1.25rem }}
</style>
<h1>Login failed</h1>
<p>{message}</p>
{link}<p><small>{code}</small></p>
</html>
"""


class OAuth2LoginError(SessionError):
    """A login that failed; nobody is logged in.

    Attributes:
        code: A short name of what happened, for programs.
        status: HTTP status of the answer.
        target: The page that the login was to lead to, if that is known.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.target: str | None = None


def unreachable() -> OAuth2LoginError:
    """Return what tells that a provider cannot be reached, or answers with nonsense."""
    return OAuth2LoginError(
        "provider_unavailable", "The provider cannot be reached. Please try again later.", 502
    )


def in_one_line(error: object) -> str:
    """Return what an error says for the log, where a stranger's words cannot pass for a line."""
    return f"{type(error).__name__}: {ascii(str(error))[:300]}"


def failure_response(request: Request, failure: OAuth2LoginError, retry: str | None) -> Response:
    """Return the answer to a failed login.

    Args:
        request: Its ``Accept`` decides between a page and JSON.
        failure: What happened; nothing of what the provider said is in it.
        retry: Where the login can be started again, or None.
    """
    message = str(failure)
    if not accepts_html(request.headers):
        body = {"error": failure.code, "message": message}
        return JSONResponse(body, failure.status, headers=_HEADERS)
    link = f'<p><a href="{html.escape(retry)}">Try again</a></p>\n' if retry else ""
    page = _PAGE.format(message=html.escape(message), link=link, code=html.escape(failure.code))
    return HTMLResponse(page, failure.status, headers=_HEADERS)
