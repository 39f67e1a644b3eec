"""A Redis Cluster of three masters with one replica each, in six processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import redis
from redis.crc import key_slot

from tests.topology.nodes import HOST, PASSWORD, Node, Setting, free_ports, wait_until

SLOTS = 16_384
_MASTERS = 3


class Cluster:
    """The processes, masters first; which of them is master may change.

    Attributes:
        nodes: All of them.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    @property
    def addresses(self) -> list[str]:
        """The nodes, as properties name them."""
        return [each.address for each in self.nodes]

    def owner(self, key: str) -> Node:
        """Return the node that serves a key now."""
        return self.owner_of_slot(key_slot(key.encode()))

    def owner_of_slot(self, slot: int) -> Node:
        """Return the node that serves a slot now, as the first running node has it."""
        node = next(each for each in self.nodes if each.running)
        for first, last, master, *_ in node.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self._at(int(master[1]))
        raise LookupError(f"nobody serves slot {slot}")

    def replica_of(self, master: Node) -> Node:
        """Return the replica of a master."""
        for node in self.nodes:
            if node.running and node is not master:
                replication = node.info("replication")
                if replication.get("master_port") == str(master.port):
                    return node
        raise LookupError(f"{master.address} has no replica")

    @contextlib.contextmanager
    def migration(self, slot: int) -> Iterator[Migration]:
        """Return a migration of a slot that has begun; it is ended in the end."""
        source = self.owner_of_slot(slot)
        masters = [self.owner_of_slot(round(n * SLOTS / _MASTERS)) for n in range(_MASTERS)]
        migration = Migration(slot, source, next(each for each in masters if each is not source))
        try:
            yield migration
        finally:
            migration.move_keys()
            migration.finish(self.nodes)

    def settle(self) -> None:
        """Start what was killed, and wait until every master has its replica in sync."""
        for node in self.nodes:
            if not node.running:
                node.start()
        wait_until(self._is_settled, "the cluster is complete")

    def _at(self, port: int) -> Node:
        return next(each for each in self.nodes if each.port == port)

    def _is_settled(self) -> bool:
        states = [each.info("replication") for each in self.nodes]
        masters = [each for each in states if each["role"] == "master"]
        return (
            len(masters) == _MASTERS
            and all("state=online" in each.get("slave0", "") for each in masters)
            and all(
                each["master_link_status"] == "up" for each in states if each["role"] == "slave"
            )
            and all(self._agrees(each) for each in self.nodes)
        )

    def _agrees(self, node: Node) -> bool:
        """Tell whether the node knows all others and that nobody fails."""
        lines = node.ask("CLUSTER", "NODES").splitlines()
        flags = [line.split()[2] for line in lines]
        return (
            len(lines) == len(self.nodes)
            and not any("fail" in each or "handshake" in each for each in flags)
            and "cluster_state:ok" in node.ask("CLUSTER", "INFO")
        )


class Migration:
    """A slot on its way to another master; the server answers ASK for what has moved."""

    def __init__(self, slot: int, source: Node, target: Node) -> None:
        self.slot, self.source, self.target = slot, source, target
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))

    def move_keys(self) -> None:
        """Move all keys that the slot has now."""
        keys = self.source.ask("CLUSTER", "GETKEYSINSLOT", self.slot, 1000)
        if keys:
            to = (HOST, self.target.port, "", 0, 5000, "AUTH", PASSWORD)
            self.source.ask("MIGRATE", *to, "KEYS", *keys)

    def finish(self, nodes: list[Node]) -> None:
        """Give the slot to the target; from then on the source answers MOVED."""
        target_id = self.target.ask("CLUSTER", "MYID")
        for node in (self.target, self.source, *nodes):
            with contextlib.suppress(redis.ResponseError):  # a replica refuses
                node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", target_id)


@contextlib.contextmanager
def running_cluster(
    *, node_timeout_ms: int = 1000, settings: list[Setting] | None = None
) -> Iterator[Cluster]:
    """Start the six processes and end them in the end, whatever happens."""
    count = 2 * _MASTERS
    ports = free_ports(2 * count)
    nodes: list[Node] = []
    with contextlib.ExitStack() as stack:
        for port, bus in zip(ports[:count], ports[count:], strict=True):
            nodes.append(Node(port, [*_settings(bus, node_timeout_ms), *(settings or [])]))
            stack.callback(nodes[-1].close)
            nodes[-1].start()
        _introduce(nodes, ports[count:])
        cluster = Cluster(nodes)
        cluster.settle()
        yield cluster


def _settings(bus: int, node_timeout_ms: int) -> list[Setting]:
    return [
        ("cluster-enabled", "yes"), ("cluster-port", str(bus)),
        ("cluster-node-timeout", str(node_timeout_ms)), ("cluster-replica-validity-factor", "0"),
        ("cluster-require-full-coverage", "no"), ("masterauth", PASSWORD), ("save", ""),
        ("repl-diskless-sync-delay", "0"),
    ]  # fmt: skip


def _introduce(nodes: list[Node], buses: list[int]) -> None:
    """Make one cluster of strangers: slots for the first three, a master for each other."""
    share = SLOTS / _MASTERS
    for index, node in enumerate(nodes):
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        if index < _MASTERS:
            first, last = round(index * share), round((index + 1) * share) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
    for node, bus in zip(nodes[1:], buses[1:], strict=True):
        nodes[0].ask("CLUSTER", "MEET", HOST, node.port, bus)
    for index, replica in enumerate(nodes[_MASTERS:]):
        master_id = nodes[index].ask("CLUSTER", "MYID")
        wait_until(lambda: replica.ask("CLUSTER", "REPLICATE", master_id), "the replica joins")  # noqa: B023
