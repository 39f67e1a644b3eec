"""A master with a replica and three Sentinel processes that watch them."""

import contextlib
from collections.abc import Iterator

from tests.topology.nodes import HOST, PASSWORD, Node, Setting, free_ports, wait_until

MASTER_NAME = "sessions"
SENTINEL_PASSWORD = "for the sentinels: #2"
_WATCHERS = 3


class Watched:
    """The processes: two servers, of which one is the master, and the Sentinels.

    Attributes:
        servers: Both servers; the first was the master in the beginning.
        watchers: The Sentinels.
    """

    def __init__(self, servers: list[Node], watchers: list[Node]) -> None:
        self.servers = servers
        self.watchers = watchers

    @property
    def addresses(self) -> list[str]:
        """The Sentinels, as properties name them."""
        return [each.address for each in self.watchers]

    def master(self) -> Node:
        """Return the server that most Sentinels call the master."""
        told = [self._told(each) for each in self.watchers if each.running]
        port = max(set(told), key=told.count)
        return next(each for each in self.servers if each.port == port)

    def other(self) -> Node:
        """Return the server that is not the master."""
        master = self.master()
        return next(each for each in self.servers if each is not master)

    def settle(self) -> None:
        """Start what was killed, and wait until the replica is in sync and watched by all."""
        wait_until(self._agree, "the Sentinels agree on one master that runs")
        for watcher in self.watchers:
            if not watcher.running:
                watcher.start()
        for server in self.servers:
            if not server.running:
                # The Sentinels would tell it themselves, but after ten seconds.
                server.start()
            if server is not self.master() and server.info("replication")["role"] == "master":
                server.ask("REPLICAOF", HOST, self.master().port)
        wait_until(self._is_settled, "the replica follows its master")

    def _agree(self) -> bool:
        told = {self._told(each) for each in self.watchers if each.running}
        return len(told) == 1 and self.master().info("replication")["role"] == "master"

    def _told(self, watcher: Node) -> int:
        return int(watcher.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)[1])

    def _is_settled(self) -> bool:
        master, other = self.master(), self.other()
        return (
            {self._told(each) for each in self.watchers} == {master.port}
            and master.info("replication")["role"] == "master"
            and "state=online" in master.info("replication").get("slave0", "")
            and other.info("replication").get("master_link_status") == "up"
            and all(self._is_fit(each) for each in self.watchers)
        )

    def _is_fit(self, watcher: Node) -> bool:
        state = _table(watcher.ask("SENTINEL", "MASTER", MASTER_NAME))
        replicas = [_table(each) for each in watcher.ask("SENTINEL", "REPLICAS", MASTER_NAME)]
        return (
            state["flags"] == "master"
            and state["num-other-sentinels"] == str(_WATCHERS - 1)
            and [each["flags"] for each in replicas] == ["slave"]
        )


def _table(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


@contextlib.contextmanager
def running_sentinels(
    *, down_after_ms: int = 500, settings: list[Setting] | None = None
) -> Iterator[Watched]:
    """Start the five processes and end them in the end, whatever happens."""
    ports = free_ports(2 + _WATCHERS)
    servers: list[Node] = []
    watchers: list[Node] = []
    with contextlib.ExitStack() as stack:
        for port in ports[:2]:
            following: list[Setting] = [("replicaof", HOST, str(ports[0]))] if servers else []
            servers.append(Node(port, [*_SERVER, *(settings or []), *following]))
            stack.callback(servers[-1].close)
            servers[-1].start()
        for port in ports[2:]:
            watching = _watching(ports[0], down_after_ms)
            watchers.append(Node(port, watching, password=SENTINEL_PASSWORD, sentinel=True))
            stack.callback(watchers[-1].close)
            watchers[-1].start()
        watched = Watched(servers, watchers)
        watched.settle()
        yield watched


_SERVER: list[Setting] = [
    ("masterauth", PASSWORD), ("save", ""), ("repl-diskless-sync-delay", "0"),
    ("repl-ping-replica-period", "1"),
]  # fmt: skip


def _watching(port: int, down_after_ms: int) -> list[Setting]:
    return [
        ("sentinel", "sentinel-pass", SENTINEL_PASSWORD),
        ("sentinel", "monitor", MASTER_NAME, HOST, str(port), "2"),
        ("sentinel", "auth-pass", MASTER_NAME, PASSWORD),
        ("sentinel", "down-after-milliseconds", MASTER_NAME, str(down_after_ms)),
        ("sentinel", "failover-timeout", MASTER_NAME, "3000"),
    ]
