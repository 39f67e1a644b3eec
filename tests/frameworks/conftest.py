"""The sites of the web tests, for applications of other frameworks."""

from __future__ import annotations

from tests.web.conftest import memory_site, native_site, site

__all__ = ["memory_site", "native_site", "site"]
