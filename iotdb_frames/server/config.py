"""A local server's configuration: its properties, its logging and the java command line.

IoTDB's own scripts size the heaps for a dedicated machine (5.8 and 9.6 GB were seen); a laptop can
spare a tenth of that. Source: conf/ and sbin/ of IoTDB 2.0.10, tried on a live one.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from iotdb_frames.errors import LaunchError
from iotdb_frames.server.java import Java

PORT_NAMES = (
    "dn_rpc_port",
    "dn_internal_port",
    "dn_mpp_data_exchange_port",
    "dn_schema_region_consensus_port",
    "dn_data_region_consensus_port",
    "cn_internal_port",
    "cn_consensus_port",
)

SchemaLog = Literal["simple", "ratis"]
"""How a server logs its schema: in a plain file per database, or in a Raft log with one member,
whose buffers take 10 MB per database. IoTDB cannot change it later."""

_FIXED = {
    "cluster_name": "iotdb-frames",
    "cn_internal_address": "127.0.0.1",
    "dn_internal_address": "127.0.0.1",
    "dn_rpc_address": "127.0.0.1",
    "schema_replication_factor": "1",
    "data_replication_factor": "1",
    # One region per database, whose leader is known within 0.1 s: the first insert into a new
    # server succeeds after 3.1 s instead of 4.1 s.
    "series_slot_num": "1",
    "default_data_region_group_num_per_database": "1",
    "heartbeat_interval_in_ms": "100",
    "dn_join_cluster_retry_interval_ms": "100",
    "wal_buffer_size_in_byte": str(1 << 20),
    # A query is refused (719) by an estimate of its memory: a page per series, a buffer per sort.
    # With small ones, and half of the query memory given to operators, 3,000 columns and a few
    # clients fit into a heap of 1 GiB. Consensus and pipes are hardly used here.
    "page_size_in_byte": str(16 << 10),
    "sort_buffer_size_in_bytes": str(8 << 20),
    "datanode_memory_proportion": "6:8:2:1:1:2",
    "chunk_timeseriesmeta_free_memory_proportion": "1:100:150:50:500:100:50:50",
    "cn_metric_level": "OFF",
    "dn_metric_level": "OFF",
    "cn_selector_thread_nums_of_client_manager": "1",
    "dn_selector_thread_nums_of_client_manager": "1",
    "load_active_listening_enable": "false",
    # By default a server turns read-only when 5 % of the disk are left, 50 GB of a 1 TB disk.
    "disk_space_warning_threshold": "0.001",
}

_SCHEMA_LOGS: Mapping[SchemaLog, Mapping[str, str]] = {
    "simple": {
        "schema_region_consensus_protocol_class": (
            "org.apache.iotdb.consensus.simple.SimpleConsensus"
        )
    },
    # The log entry of all new series of a request must fit into the buffer.
    "ratis": {"schema_region_ratis_log_appender_buffer_size_max": str(8 << 20)},
}

_LOGBACK = """\
<configuration>
  <appender name="FILE" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>${IOTDB_LOG_DIR}/server.log</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>${IOTDB_LOG_DIR}/server.%i.log</fileNamePattern>
      <minIndex>1</minIndex>
      <maxIndex>2</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy">
      <maxFileSize>5MB</maxFileSize>
    </triggeringPolicy>
    <encoder>
      <pattern>%d %-5level [%thread] %logger{0}: %msg%n%ex{4}</pattern>
      <charset>utf-8</charset>
    </encoder>
  </appender>
  <logger name="org.apache.iotdb.commons.service.StartupChecks" level="ERROR"/>
  <logger name="org.apache.iotdb.commons.service.metric.GcTimeAlerter" level="ERROR"/>
  <root level="WARN"><appender-ref ref="FILE"/></root>
</configuration>
"""

_OPENED = ("util.concurrent", "lang", "util", "nio", "io", "net")


def free_ports(n_ports: int, *, avoid: Collection[int] = ()) -> tuple[int, ...]:
    """Distinct loopback ports that are free now, and not in `avoid`.

    They are below the range that systems use for outgoing connections, so that they are still free
    at the next start.
    """
    found: set[int] = set()
    for _ in range(1000):
        port = random.randrange(20000, 32000)  # noqa: S311 - no secret
        if port not in found and port not in avoid and is_free(port):
            found.add(port)
        if len(found) == n_ports:
            return tuple(found)
    raise LaunchError("no free loopback ports between 20000 and 32000")


def is_free(port: int) -> bool:
    """Whether no process listens on a loopback port."""
    with socket.socket() as sock:
        if os.name != "nt":  # on Windows it means something else; here it permits TIME_WAIT
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def write_config(
    directory: Path,
    *,
    ports: Mapping[str, int],
    timestamp_precision: str,
    schema_log: SchemaLog,
    durable: bool,
    properties: Mapping[str, str],
) -> None:
    """Write ``iotdb-system.properties`` and ``logback.xml`` into `directory`/conf."""
    seed = f"127.0.0.1:{ports['cn_internal_port']}"
    settings = {
        **_FIXED,
        **_SCHEMA_LOGS[schema_log],
        "cn_seed_config_node": seed,
        "dn_seed_config_node": seed,
        "timestamp_precision": timestamp_precision,
        "wal_mode": "SYNC" if durable else "ASYNC",
        "sync_mlog_period_in_ms": "0" if durable else "100",
        **{name: str(port) for name, port in ports.items()},
        **properties,
    }
    conf = directory / "conf"
    conf.mkdir(exist_ok=True)
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    for name, text in (("iotdb-system.properties", lines), ("logback.xml", _LOGBACK)):
        file = conf / name
        file.touch(mode=0o600)
        file.chmod(0o600)
        file.write_text(text, encoding="utf-8")


def java_command(
    java: Java,
    *,
    lib: Path,
    directory: Path,
    keeps_data: bool,
    heap_bytes: int,
    direct_bytes: int,
    node: Literal["confignode", "datanode"] | None = None,
) -> list[str]:
    """The command line of a JVM that runs both nodes on the data in `directory`.

    keeps_data : close the data cleanly when the owner is gone, instead of ending at once
    node : run only this one
    """
    conf, logs = directory / "conf", directory / "logs"
    command = [
        str(java.command),
        *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED),
        "-XX:+UseSerialGC",
        f"-Xms{min(64 << 20, heap_bytes)}",
        f"-Xmx{heap_bytes}",
        f"-XX:MaxDirectMemorySize={direct_bytes}",
        f"-DOFF_HEAP_MEMORY={direct_bytes >> 20}M",
        "-Xss512k",
        "-XX:-UsePerfData",
        "-Dfile.encoding=UTF-8",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={directory / 'tmp'}",
        f"-Dlogback.configurationFile={conf / 'logback.xml'}",
    ]
    if java.major >= 24:  # without warnings on stderr that Netty, LZ4 and Zstd load native code
        command += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    for name, place in (("HOME", directory), ("DATA_HOME", directory), ("CONF", conf)):
        command += [f"-DIOTDB_{name}={place}", f"-DCONFIGNODE_{name}={place}"]
    command += [f"-DTSFILE_HOME={directory}", f"-DTSFILE_CONF={conf}"]
    command += [f"-DIOTDB_LOG_DIR={logs}", f"-DCONFIGNODE_LOGS={logs}"]
    command += [f"-Dlauncher.keeps_data={str(keeps_data).lower()}"]
    class_path = os.pathsep.join([str(lib / "*"), str(Path(__file__).parent)])  # Launcher.class
    return [*command, "-cp", class_path, "Launcher", *([node] if node else [])]
