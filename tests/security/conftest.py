"""The sites of the web tests, with the security filter behind the sessions."""

from tests.web.conftest import site

__all__ = ["site"]
