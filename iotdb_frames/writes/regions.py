"""The nodes and regions of a cluster: who leads, what is missing, and whether data may be deleted.

A region is a share of a database; its replicas are on as many nodes as the replication factor says,
and one of them leads. After the loss of a leader another one takes over that may lack what the old
one had not handed on, until that one is back; and who comes back leads again before it has caught
up: for 5 to 20 s reads came short, with 200, while all replicas were Running. What a leader took
and had not handed on when it was killed, it hands on then, 3 to 9 s after all were Running, also
over newer values, and again whenever it was killed since. No statement tells how far one is behind
(`syncLag` of the nodes' metrics does, where they are on). So where something failed a moment ago,
or may have unseen, all must run, and leaders stay, for a while. That a node was not restarted is
seen by a session with it that goes on. Source: IoTDB 2.0.10, one ConfigNode and three DataNodes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.hosts import Host, address_of
from iotdb_frames.codec.names import Target, join_path, split_path
from iotdb_frames.errors import PermissionDenied, QueryError, ServerError
from iotdb_frames.options import NO_RETRY, RetryPolicy
from iotdb_frames.wire.answers import Model, understood
from iotdb_frames.wire.version import read_version
from iotdb_frames.writes.schema.look import query_table

RUNNING = "Running"
SETTLE_S = 30.0
"""So long must replicated regions have been whole where something may have failed before."""


@dataclass(frozen=True)
class Replica:
    """A replica of a region: on the node of a number, which takes clients at `host`."""

    node: int
    host: Host
    status: str
    is_leader: bool


@dataclass(frozen=True)
class Region:
    """A region: its number, "SchemaRegion" or "DataRegion", its database and its replicas."""

    number: int
    kind: str
    database: str
    replicas: tuple[Replica, ...]

    @property
    def leader(self) -> Replica | None:
        """The replica that leads it."""
        return next((r for r in self.replicas if r.is_leader), None)

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, if anything."""
        if self.leader is None:
            return "has no leader"
        away = [f"{address_of(r.host)} ({r.status})" for r in self.replicas if r.status != RUNNING]
        return f"lacks its replica on {', '.join(away)}" if away else None


@dataclass(frozen=True)
class Node:
    """A node of the cluster; `host` is where a DataNode takes clients."""

    number: int
    kind: str
    status: str
    host: Host | None


@dataclass(frozen=True)
class Settings:
    """Of a cluster: the replicas of a "SchemaRegion" and of a "DataRegion", and whether it reads
    from leaders only."""

    replicas: Mapping[str, int]
    reads_from_leaders: bool


@understood("the regions")
def look_at_regions(
    connection: Connection, *, model: Model, policy: RetryPolicy | None = None
) -> list[Region]:
    """All regions of a model's databases.

    That a node is away is known of the node some seconds before it is of its replicas. Nodes are
    told apart by their numbers: all may call themselves 0.0.0.0.

    Parameters
    ----------
    policy : how questions are retried; None: as the connection does

    Raises
    ------
    PermissionDenied, QueryError : the user may not ask, or the server does not know the statement.
    """
    rows = query_table(connection, "SHOW REGIONS", model=model, policy=policy).to_pylist()
    away: dict[int, str] = {}
    if len({row["DataNodeId"] for row in rows}) > 1:
        nodes = query_table(connection, "SHOW DATANODES", model="tree", policy=policy).to_pylist()
        away = {node["NodeID"]: node["Status"] for node in nodes if node["Status"] != RUNNING}
    found: dict[tuple[str, int], list[Replica]] = {}
    databases: dict[tuple[str, int], str] = {}
    for row in rows:
        key, node = (row["Type"], int(row["RegionId"])), row["DataNodeId"]
        status = away.get(node, row["Status"])
        replica = Replica(node, _host(row), status, is_leader=row["Role"] == "Leader")
        found.setdefault(key, []).append(replica)
        databases[key] = row["Database"]
    return [Region(key[1], key[0], databases[key], tuple(some)) for key, some in found.items()]


def _host(row: Mapping[str, Any]) -> Host:
    return row["RpcAddress"], int(row["RpcPort"])


@understood("the nodes")
def look_at_nodes(connection: Connection) -> list[Node]:
    """All nodes of the cluster. Errors are those of `look_at_regions`."""
    rows = query_table(connection, "SHOW CLUSTER DETAILS", model="tree").to_pylist()
    return [
        Node(
            row["NodeID"],
            row["NodeType"],
            row["Status"],
            host=_host(row) if row["NodeType"] == "DataNode" else None,
        )
        for row in rows
    ]


@understood("the settings of the cluster")
def look_at_settings(connection: Connection) -> Settings:
    """What the cluster says of itself. Errors are those of `look_at_regions`."""
    table = query_table(connection, "SHOW VARIABLES", model="tree").to_pydict()
    said = dict(zip(table["Variable"], table["Value"], strict=True))
    factors = {
        kind: int(said[f"{kind.removesuffix('Region')}ReplicationFactor"])
        for kind in ("SchemaRegion", "DataRegion")
    }
    return Settings(factors, said["ReadConsistencyLevel"] == "strong")


def wait_until_whole(
    connection: Connection, target: Target, *, devices: Collection[str], policy: RetryPolicy
) -> str | None:
    """Wait until every region of the databases that a target touches has a leader, and all of its
    replicas run; returns what the user should know, where that cannot be seen.

    Nothing is asked of a cluster that has one node only.

    Parameters
    ----------
    devices : the tree model's devices and prefixes of some, in whichever databases they are
    policy : how long is waited

    Raises
    ------
    ServerError : a region is not whole, and was not within that time; names it.
    """

    look = _Watch(connection, target, devices).look
    try:
        connection.try_again(look, is_idempotent=True, policy=policy)
    except (QueryError, PermissionDenied) as exc:
        if exc.is_retryable:
            raise
        return f"whether all replicas run was not checked: {exc.message}"
    return None


class _Watch:
    """Looks at the regions that a target touches, and remembers since when they are whole."""

    def __init__(self, connection: Connection, target: Target, devices: Collection[str]) -> None:
        self._connection, self._target, self._devices = connection, target, devices
        self._since = connection.clock.now()
        self._must_settle = False
        self._leaders: list[int | None] | None = None

    def look(self) -> None:
        """Raise a ServerError, to be tried again, where a region is not whole for long enough."""
        regions = look_at_regions(self._connection, model=self._target.model, policy=NO_RETRY)
        nodes = {replica.node: replica.host for region in regions for replica in region.replicas}
        if len(nodes) < 2:
            return
        touched = _of_target(regions, self._target, self._devices)
        replicated = [region for region in touched if len(region.replicas) > 1]
        broken = next((region for region in touched if region.trouble), None)
        if self._leaders is None and replicated:
            watched_s = _watched_s(self._connection, nodes.values(), model=self._target.model)
            is_quiet = self._connection.hosts.quiet_s >= 2 * SETTLE_S
            self._must_settle = watched_s < SETTLE_S or not is_quiet
        leaders = [region.leader.node if region.leader else None for region in touched]
        before, self._leaders = self._leaders, leaders
        now = self._connection.clock.now()
        if broken is not None or before not in (None, leaders):
            self._must_settle, self._since = True, now
        if broken is not None:
            raise _not_whole(broken, str(broken.trouble), _WAIT)
        if replicated and self._must_settle and now - self._since < SETTLE_S:
            what = "may not have caught up, if a node came back a moment ago"
            hint = f"a retry= whose total_s is above {SETTLE_S:g} s waits for it"
            raise _not_whole(replicated[0], what, hint)


def _watched_s(connection: Connection, nodes: Iterable[Host], *, model: Model) -> float:
    """For how many seconds no node can have been restarted unseen: each answers in a session that
    is as old; opens them for the next time. 0 where the URL does not name one of the nodes."""
    ages = []
    for node in nodes:
        at = connection.hosts.named(node, connection.options.hosts)
        if at is None:
            return 0.0
        with connection.pool(model).session(at=at) as session:
            read_version(session)  # who loses his power does not end a session
            is_there = session.address == at
            ages.append(connection.clock.now() - session.opened_at if is_there else 0.0)
    return min(ages)


_WAIT = 'wait until all nodes run: iotf.show("cluster"), iotdb-frames doctor'


def _not_whole(region: Region, what: str, hint: str) -> ServerError:
    return ServerError(
        f"{region.kind} {region.number} of {region.database} {what}, so that a read may come short",
        needs_retry=True,
        hint=hint,
    )


def _of_target(regions: Sequence[Region], target: Target, devices: Collection[str]) -> list[Region]:
    if target.model == "table":
        return [region for region in regions if region.database == target.database]

    def is_touched(database: str) -> bool:
        path = join_path(split_path(database)) + "."
        return any(f"{d}.".startswith(path) or path.startswith(f"{d}.") for d in devices)

    is_ours = {database: is_touched(database) for database in {r.database for r in regions}}
    return [region for region in regions if is_ours[region.database]]
