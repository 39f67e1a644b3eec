"""`PlainClient`: a client that has the methods of the four verbs and nothing more."""

from __future__ import annotations

from typing import Any

_METHODS = {"GET": "get", "EXISTS": "exists", "DEL": "delete"}


class PlainClient:
    """Gives ``execute_command`` to a client without it, such as a stand-in of a test.

    Enough for the four verbs of a store. Requests need a real client: they use commands that a
    stand-in could not answer truly.

    Args:
        client: Has the coroutine methods ``get``, ``set``, ``delete`` and ``exists``, as
            ``redis.asyncio.Redis`` has them.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    async def execute_command(self, *command: Any, **_options: Any) -> Any:
        """Call the method that the command stands for.

        Raises:
            TypeError: There is none.
        """
        client = self._client
        match command:
            case ["SET", key, value, "EX", ttl]:
                return await client.set(key, value, ex=ttl)
            case ["GET" | "EXISTS" | "DEL" as name, key]:
                return await getattr(client, _METHODS[name])(key)
        raise TypeError(
            f"{type(client).__name__} has no execute_command, which {command[0]} needs; give"
            " RedisSessionStore a client of redis.asyncio, or of fakeredis in a test"
        )
