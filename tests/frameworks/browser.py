"""A browser with a cookie jar, for applications that are asked over HTTP as users ask them."""

from __future__ import annotations

import re
from typing import Any

import httpx2

ORIGIN = "https://shop.example"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def browser_of(app: Any, **options: Any) -> httpx2.AsyncClient:
    """Return a client that wants pages, keeps cookies, and does not follow redirects."""
    transport = httpx2.ASGITransport(app=app)
    options.setdefault("headers", HTML)
    return httpx2.AsyncClient(transport=transport, base_url=ORIGIN, **options)


def field_of(page: str, name: str) -> str:
    """Return the value of a hidden field of a form."""
    for tag in re.findall(r"<input[^>]*>", page):
        if f'name="{name}"' in tag:
            found = re.search(r'value="([^"]*)"', tag)
            assert found is not None
            return found[1]
    raise AssertionError(f"no field {name} in {page}")
