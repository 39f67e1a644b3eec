"""Redis clients made from properties: what the driver refuses is refused at start, by name."""

from __future__ import annotations

from typing import Any

import pytest

from pyfly_session import ConfigurationError
from pyfly_session.auto_configuration import create_container
from pyfly_session.auto_configuration.redis_clients import create_redis_client
from pyfly_session.config import bind_properties

CLUSTER = {"cluster": {"nodes": ["a.example:6379"]}}
SENTINEL = {"sentinel": {"master": "m", "nodes": ["a.example:26379"]}}


def container_of(**redis: Any) -> Any:
    session = {"enabled": True, "store": "redis", "redis": redis}
    return create_container({"pyfly": {"session": session}})


@pytest.mark.parametrize("kind", [{}, CLUSTER, SENTINEL], ids=["standalone", "cluster", "sentinel"])
@pytest.mark.parametrize("option", ["max_connections=many", "socket_timeout=x", "colour=red"])
def test_an_option_of_the_url_that_the_driver_refuses_is_refused_at_start(
    kind: dict[str, Any], option: str
) -> None:
    container = container_of(url=f"redis://user:s3cr3t@h/0?{option}", **kind)

    with pytest.raises(ConfigurationError) as caught:
        container.session_filter()

    message = str(caught.value)
    assert message.startswith("pyfly.session.redis.url has an option that the driver refuses")
    assert option.partition("=")[0] in message
    assert "s3cr3t" not in message
    assert caught.value.key == "pyfly.session.redis.url"
    assert caught.value.value == f"redis://user:***@h/0?{option}"


@pytest.mark.parametrize("url", ["rediss://h?ssl_cert_reqs=perhaps", "redis://h?protocol=9"])
def test_a_value_of_an_option_that_the_driver_refuses_later_is_refused_at_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="has an option that the driver refuses"):
        container_of(url=url).session_filter()


@pytest.mark.parametrize("kind", [{}, CLUSTER, SENTINEL], ids=["standalone", "cluster", "sentinel"])
async def test_options_that_the_driver_knows_are_allowed(kind: dict[str, Any]) -> None:
    url = "rediss://h/0?health_check_interval=5&ssl_cert_reqs=none"
    tree = {"pyfly": {"session": {"redis": {"url": url, **kind}}}}
    _, closers = create_redis_client(bind_properties(tree).redis)
    for close in closers:
        await close()
