"""The sites of the web tests, and shops with a login on them."""

import pytest

from tests.security.shop import Shop
from tests.security.test_backchannel import Place
from tests.web.conftest import Site, site

__all__ = ["site"]


@pytest.fixture
def shop(site: Site) -> Shop:
    return Shop(site)


@pytest.fixture
def place(site: Site) -> Place:
    return Place(site)
