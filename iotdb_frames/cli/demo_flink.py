"""``demo --engine flink``: a fleet of sensors, through Flink's mini-cluster, into a real IoTDB."""

from __future__ import annotations

from typing import Any

import typer

from iotdb_frames.cli import screen
from iotdb_frames.display.words import duration, plural

TARGET = "root.demo.fleet"
N_MACHINES = 5


def demo_flink(url: str) -> None:
    """Stream a minute of five machines into IoTDB, and count what is there."""
    import iotdb_frames as iotf
    from iotdb_frames.engines.flink import IoTDBSink
    from iotdb_frames.engines.flink_source import stream

    fleet = iotf.simulate_fleet(N_MACHINES, rate_hz=10, duration="1min")
    with iotf.connect(url) as connection:
        screen.step("Server", f"IoTDB {connection.version} at {connection.options.url}")
        screen.step("Source", f"{N_MACHINES} machines, ten readings a second, for a minute")
        options = iotf.IoTDBOptions(url=url, storage_group=TARGET)
        serializer = iotf.DefaultIoTSerializationSchema(types=fleet.schema)
        sink = IoTDBSink(options, serializer, travels=True)
        screen.step("Flink", "IoTDBSink(options, serializer).run(stream, t_env)")
        screen.more("on a mini-cluster in this process's Java, which takes some seconds to start")
        env, t_env = _environment()
        report = sink.run(stream(fleet, env), t_env)
        screen.more(
            f"{plural(report.rows_written, 'row')} acknowledged in {duration(report.seconds)}"
        )
        stored = len(iotf.read(f"{TARGET}.**", connection=connection))
        screen.step("Read", f"{plural(stored, 'row')} are there")
    if stored != report.rows_written:
        screen.say("✗ these are not the rows that were written", style="red")
        raise typer.Exit(1)


def _environment() -> tuple[Any, Any]:
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment

    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(1).enable_checkpointing(2000)
    return env, StreamTableEnvironment.create(env)
