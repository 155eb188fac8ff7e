"""What `doctor` says of a cluster: each host that the URL names, and what is wrong with it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from iotdb_frames.cli.finding import Finding
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.hosts import Host, address_of
from iotdb_frames.errors import PermissionDenied, ServerError
from iotdb_frames.options import NO_RETRY
from iotdb_frames.wire.answers import Model
from iotdb_frames.writes.regions import (
    RUNNING,
    Node,
    Region,
    Settings,
    look_at_nodes,
    look_at_regions,
    look_at_settings,
)

_MODELS: tuple[Model, ...] = ("tree", "table")
_MOST_LINES = 10
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - nothing is bound to it


def look_at_cluster(connection: Connection) -> Iterator[Finding]:
    """A line for each host that is named, where there are several, then one for each trouble."""
    hosts = connection.options.hosts
    try:
        nodes = look_at_nodes(connection)
        regions = [
            region for model in _MODELS for region in look_at_regions(connection, model=model)
        ]
        settings = look_at_settings(connection)
    except ServerError as exc:
        nodes, regions, settings = [], [], None
        if len(hosts) > 1:
            may_ask = not isinstance(exc, PermissionDenied)
            yield Finding.from_error("cluster", exc, "broken" if may_ask else "absent")
    if len(hosts) > 1:
        led = _count_led(connection, regions)
        yield from (_host_line(connection, host, led) for host in hosts)
    if settings is not None and sum(node.host is not None for node in nodes) > 1:
        yield from _node_lines(connection, nodes)
        yield from _region_lines(regions, settings.replicas)
        yield from _setting_lines(settings)


def _count_led(connection: Connection, regions: list[Region]) -> Counter[tuple[str | None, str]]:
    """How many regions of each kind are led by each host, by its address in the URL."""
    hosts = connection.options.hosts
    return Counter(
        (connection.hosts.named(region.leader.host, hosts), region.kind)
        for region in regions
        if region.leader
    )


def _host_line(
    connection: Connection, host: Host, led: Mapping[tuple[str | None, str], int]
) -> Finding:
    what = address_of(host)
    alone = replace(connection.options, hosts=(host,))
    started = time.monotonic()
    try:
        with Connection(lambda: alone, label=alone.url, retry=NO_RETRY) as to_it:
            version = to_it.version
            took_ms = 1000 * (time.monotonic() - started)
    except ServerError as exc:
        return Finding.from_error(what, exc)
    n_data, n_schema = led.get((what, "DataRegion"), 0), led.get((what, "SchemaRegion"), 0)
    leads = f", leads {n_data} data and {n_schema} schema regions"
    is_known = any(name is not None for name, _ in led)
    return Finding(what, f"IoTDB {version}, login in {took_ms:.0f} ms{leads if is_known else ''}")


def _node_lines(connection: Connection, nodes: list[Node]) -> Iterator[Finding]:
    for node in nodes:
        what, host = f"node {node.number}", node.host
        name = f"the {node.kind}" if host is None else address_of(host)
        if node.status != RUNNING:
            yield Finding(what, f"{name} is {node.status}", "broken", "start it, or see its log")
        elif host is None:
            continue
        elif host[0] in _ANY_ADDRESS:
            found = f"it calls itself {name}, so that rows are not sent to it as a leader"
            yield Finding(what, found, "absent", "dn_rpc_address: a name that clients can reach")
        elif connection.hosts.named(host, connection.options.hosts) is None:
            remedy = "name it too, so that the connection can go there when others are lost"
            yield Finding(what, f"{name} is not in the URL", "absent", remedy)


def _region_lines(regions: list[Region], factors: Mapping[str, int]) -> Iterator[Finding]:
    lines: list[Finding] = []
    for region in regions:
        what = f"region {region.number}"
        wanted = factors.get(region.kind, 1)
        if region.trouble:
            found = f"{region.kind} of {region.database} {region.trouble}"
            lines.append(Finding(what, found, "broken", "start the nodes that are away"))
        elif len(region.replicas) < wanted:
            found = f"{region.kind} of {region.database} has {len(region.replicas)} of {wanted}"
            remedy = f"EXTEND REGION {region.number} TO …"
            lines.append(Finding(what, f"{found} replicas", "broken", remedy))
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield Finding("regions", f"{len(lines) - _MOST_LINES} more like these", "broken")


def _setting_lines(settings: Settings) -> Iterator[Finding]:
    if alone := sorted(kind for kind, n in settings.replicas.items() if n == 1):
        found = f"replication factor 1 of {' and '.join(alone)}s: what a node holds is lost with it"
        remedy = "data_replication_factor, schema_replication_factor of a new cluster"
        yield Finding("replicas", found, "absent", remedy)
    if not settings.reads_from_leaders:
        found = "from any replica, so that they may miss what was acknowledged a moment ago"
        yield Finding("reads", found, "absent", "read_consistency_level=strong")
