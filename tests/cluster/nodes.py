"""A real cluster on loopback: one ConfigNode and some DataNodes, each of which can be hit by name.

Each node is a JVM of its own, started as a local server's is, and ends with this process.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import ServerError
from iotdb_frames.options import ConnectionOptions, RetryPolicy
from iotdb_frames.server import logs
from iotdb_frames.server.config import PORT_NAMES, free_ports, java_command, write_config
from iotdb_frames.server.install import find_installation
from iotdb_frames.server.java import find_java
from iotdb_frames.server.jvm import Jvm
from iotdb_frames.wire.answers import Model
from iotdb_frames.writes.regions import look_at_regions

_MIB = 1 << 20
_CONFIG_NODE = "cn1"
_START_S = 240.0
_ONE_TRY = RetryPolicy(attempts=1)


class Cluster:
    """One ConfigNode ``cn1`` and DataNodes ``dn1`` …; a context manager.

    Parameters
    ----------
    n_data_nodes : how many
    schema_replicas, data_replicas : of each region
    durable : acknowledge a write only when it is on the disk (``wal_mode=SYNC``)
    heap_mib, direct_mib : bounds of a DataNode's memory; with less direct memory than that, parts
        of the replication fail silently
    properties : more of ``iotdb-system.properties``
    client : options of every connection to it
    """

    def __init__(
        self,
        *,
        n_data_nodes: int = 3,
        schema_replicas: int = 3,
        data_replicas: int = 3,
        durable: bool = True,
        heap_mib: int = 512,
        direct_mib: int = 1536,
        properties: Mapping[str, str] | None = None,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        self.is_replicated = data_replicas > 1
        self._client = dict(client or {})
        self.data_nodes = [f"dn{i + 1}" for i in range(n_data_nodes)]
        self._durable = durable
        self._memory = {_CONFIG_NODE: (192, 128)} | dict.fromkeys(
            self.data_nodes, (heap_mib, direct_mib)
        )
        self._properties = {
            "cluster_name": "iotdb-frames-tests",
            "schema_replication_factor": str(schema_replicas),
            "data_replication_factor": str(data_replicas),
            # many regions, whose leaders are on all nodes, and the memory that replicas need
            "series_slot_num": "1000",
            "default_data_region_group_num_per_database": str(n_data_nodes),
            "heartbeat_interval_in_ms": "1000",
            "datanode_memory_proportion": "3:3:1:1:1:1",
            "schema_region_ratis_log_appender_buffer_size_max": str(4 * _MIB),
            "config_node_ratis_log_appender_buffer_size_max": str(4 * _MIB),
            **(properties or {}),
        }
        self._ports: dict[str, dict[str, int]] = {}
        self._running: dict[str, Jvm] = {}
        self._paused: set[str] = set()

    def __enter__(self) -> Cluster:
        self._directory = Path(tempfile.mkdtemp(prefix="iotdb-cluster-"))
        names = [_CONFIG_NODE, *self.data_nodes]
        ports = iter(free_ports(len(PORT_NAMES) * len(names)))
        self._ports = {name: {kind: next(ports) for kind in PORT_NAMES} for name in names}
        try:
            for name in names:
                self.start(name)
            self.wait_until_healthy()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for name in list(self._running):
            self.kill(name)
        shutil.rmtree(self._directory, ignore_errors=True)

    def place(self, name: str) -> Path:
        """The directory of a node."""
        return self._directory / name

    def port(self, name: str) -> int:
        """Where a DataNode takes clients, on 127.0.0.1."""
        return self._ports[name]["dn_rpc_port"]

    def ports(self, name: str) -> Mapping[str, int]:
        """All ports of a node, by the names of their properties."""
        return self._ports[name]

    def pid(self, name: str) -> int:
        """The process of a node."""
        return self._running[name].pid

    def name_of(self, port: int) -> str:
        """The DataNode that takes clients at a port."""
        return next(name for name in self.data_nodes if self.port(name) == port)

    def options(self, names: Sequence[str] | None = None, **options: Any) -> ConnectionOptions:
        """Options of a connection that names these DataNodes, in this order; None: all."""
        hosts = tuple(("127.0.0.1", self.port(name)) for name in names or self.data_nodes)
        return ConnectionOptions(hosts=hosts, **{**self._client, **options})

    def connection(
        self,
        names: Sequence[str] | None = None,
        *,
        retry: RetryPolicy | None = None,
        **options: Any,
    ) -> Connection:
        """A connection that names these DataNodes, in this order; None: all."""
        fixed = self.options(names, **options)
        return Connection(lambda: fixed, label=fixed.url, retry=retry)

    # --- what happens to nodes ---

    def start(self, name: str) -> None:
        """Start a node on what its directory holds; it need not be up when this returns."""
        assert name not in self._running, f"{name} runs already"
        directory = self.place(name)
        for part in ("conf", "logs", "tmp"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        node: Literal["confignode", "datanode"]
        node = "confignode" if name == _CONFIG_NODE else "datanode"
        seed = f"127.0.0.1:{self._ports[_CONFIG_NODE]['cn_internal_port']}"
        write_config(
            directory,
            ports=self._ports[name],
            timestamp_precision="ms",
            schema_log="ratis",
            durable=self._durable,
            properties={
                **self._properties,
                "cn_seed_config_node": seed,
                "dn_seed_config_node": seed,
            },
        )
        heap_mib, direct_mib = self._memory[name]
        command = java_command(
            find_java(),
            lib=find_installation().lib,
            directory=directory,
            keeps_data=False,
            heap_bytes=heap_mib * _MIB,
            direct_bytes=direct_mib * _MIB,
            node=node,
        )
        self._running[name] = Jvm(command, directory=directory)

    def kill(self, name: str) -> None:
        """End a node as a crash would (SIGKILL)."""
        self._paused.discard(name)
        self._running.pop(name).kill()

    def pause(self, name: str) -> None:
        """Freeze a node (SIGSTOP): its sockets stay open, and nobody answers."""
        os.kill(self.pid(name), signal.SIGSTOP)
        self._paused.add(name)

    def resume(self, name: str) -> None:
        """Let a frozen node go on."""
        os.kill(self.pid(name), signal.SIGCONT)
        self._paused.discard(name)

    def restart(self, name: str) -> None:
        """Kill a node, and start it again at once."""
        self.kill(name)
        self.start(name)

    def replace(self, name: str) -> None:
        """Kill a DataNode, take its disk away, and let an empty one take its place.

        The cluster takes nobody who comes back to the old one's ports without its disk, so the new
        one has ports of its own; it gets the replicas of the old one when that is removed.
        """
        old = next(r for r in self.ask("SHOW DATANODES") if r["RpcPort"] == self.port(name))
        self.kill(name)
        shutil.rmtree(self.place(name))
        self._ports[name] = dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True))
        self.start(name)
        self._wait_for_nodes(lambda rows: self.port(name) in _running(rows))
        self.tell(f"REMOVE DATANODE {old['NodeID']}")
        self._wait_for_nodes(lambda rows: old["RpcPort"] not in {r["RpcPort"] for r in rows})
        self.wait_until_healthy()

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """A node is frozen for the length of a block."""
        self.pause(name)
        try:
            yield
        finally:
            self.resume(name)

    def restore(self) -> None:
        """Let all nodes run again, and wait until they are healthy."""
        for name in list(self._paused):
            self.resume(name)
        for name in [_CONFIG_NODE, *self.data_nodes]:
            if name not in self._running:
                self.start(name)
        self.wait_until_healthy()

    # --- what it says of itself ---

    def ask(self, sql: str, *, through: str | None = None) -> list[dict[str, Any]]:
        """The rows of a statement of the tree model, through one node; None: the first that runs.

        Raises
        ------
        ServerError : at the first try.
        """
        from iotdb_frames.reads.sql import run_query

        with self._asked(through) as connection:
            return list(run_query(connection, sql, model="tree").to_arrow().to_pylist())

    def tell(self, sql: str) -> None:
        """Run a statement of the tree model that has no result. Errors are those of `ask`."""
        with self._asked(None) as connection:
            connection.run(lambda session: session.execute(sql), model="tree")

    def _asked(self, through: str | None) -> Connection:
        names = [through] if through else [n for n in self.data_nodes if self._is_awake(n)]
        return self.connection(names, retry=_ONE_TRY, connect_timeout_s=5.0, timeout_s=30.0)

    def _is_awake(self, name: str) -> bool:
        return name in self._running and name not in self._paused

    def is_healthy(self) -> bool:
        """Whether each node that should run does, and each region has a leader, seen by each."""
        for name in self.data_nodes:
            if not self._is_awake(name):
                continue
            if any(row["Status"] != "Running" for row in self.ask("SHOW CLUSTER", through=name)):
                return False
            regions = self.ask("SHOW REGIONS", through=name)
            led = {(r["Type"], r["RegionId"]) for r in regions if r["Role"] == "Leader"}
            if any(r["Status"] != "Running" for r in regions):
                return False
            if led != {(r["Type"], r["RegionId"]) for r in regions}:
                return False
        return len(self.ask("SHOW DATANODES")) == len(self.data_nodes)

    def wait_until_healthy(self, *, limit_s: float = _START_S) -> None:
        """Return when `is_healthy`; fail with the last words of whoever is not."""
        deadline = time.monotonic() + limit_s
        said = "not healthy"
        while True:
            try:
                if self.is_healthy():
                    return
            except ServerError as exc:
                said = exc.message
            for name, jvm in self._running.items():
                assert jvm.exit_code is None, f"{name} ended: {self.log_tail(name)}"
            assert time.monotonic() < deadline, f"within {limit_s:g} s: {said}"
            time.sleep(0.2)

    def wait_until_noticed(self, name: str) -> None:
        """Return when the cluster knows that a node is away."""
        self._wait_for_nodes(lambda rows: self.port(name) not in _running(rows))

    def _wait_for_nodes(self, is_so: Callable[[list[dict[str, Any]]], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while not is_so(rows := self.ask("SHOW DATANODES")):
            assert time.monotonic() < deadline, rows
            time.sleep(0.2)

    def leaders(self, target: str, *, model: Model = "tree") -> dict[int, str]:
        """The DataNode that leads each data region of a target's database, by the region's
        number."""
        name = target if model == "tree" else target.partition(".")[0]
        with self.connection() as connection:
            regions = look_at_regions(connection, model=model)
        return {
            region.number: self.name_of(region.leader.host[1])
            for region in regions
            if region.kind == "DataRegion" and region.database == name and region.leader
        }

    def log_tail(self, name: str) -> str:
        """The last lines of a node's log."""
        with suppress(OSError):
            return logs.read_tail(self.place(name), n_lines=30)
        return ""


def _running(rows: list[dict[str, Any]]) -> set[int]:
    """The ports of the DataNodes that run."""
    return {row["RpcPort"] for row in rows if row["Status"] == "Running"}
