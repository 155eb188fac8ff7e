"""Devices below a device template: planned and written, activated or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import ColumnTypeError
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.writes.writer import plan, write

INDEX = pd.DatetimeIndex(np.array([0, 1], "M8[ms]"))
FRAME = pd.DataFrame({"temp": [1.5, 2.5], "st": np.array([1, 2], "i4")}, index=INDEX)


def run(connection: Connection, sql: str) -> None:
    """One statement of the tree model."""
    connection.run(lambda session: session.execute(sql), model="tree")


@pytest.fixture(params=["aligned", "non-aligned"])
def prefix(request: pytest.FixtureRequest, connection: Connection, device: str) -> str:
    """A path with a template of `temp` and `st`, and a device `on` that has it already."""
    name = device.replace(".", "_")
    how = "ALIGNED " if request.param == "aligned" else ""
    run(connection, f"CREATE DEVICE TEMPLATE {name} {how}(temp DOUBLE, st INT32)")
    run(connection, f"SET DEVICE TEMPLATE {name} TO {device}")
    run(connection, f"CREATE TIMESERIES USING DEVICE TEMPLATE ON {device}.on")
    return device


def columns_of(connection: Connection, device: str) -> dict[str, str]:
    """Types of a device's series."""
    found = read_sql(f"SHOW TIMESERIES {device}.*", connection=connection)
    names = [name.rpartition(".")[2] for name in found["Timeseries"]]
    return dict(zip(names, found["DataType"], strict=True))


@pytest.mark.parametrize("node", ["on", "new", "`a b`", "below.it"])
@pytest.mark.parametrize("aligned", [True, False])
def test_a_device_below_a_template(
    connection: Connection, prefix: str, node: str, aligned: bool
) -> None:
    """It is written with the template's series, none is created, and the rows come back."""
    target = f"{prefix}.{node}"
    planned = plan(FRAME, target, aligned=aligned, connection=connection)
    assert planned.ddl == ()
    assert {c.state for c in planned.parts[0].columns} == {"exists"}
    assert write(FRAME, target, aligned=aligned, connection=connection).points == 4
    assert write(FRAME * 2, target, replace=True, connection=connection).points == 4
    found = read(target, columns=["temp", "st"], connection=connection)
    assert found.to_dict("list") == {"temp": [3.0, 5.0], "st": [2, 4]}


@pytest.mark.parametrize("node", ["on", "new"])
def test_types_are_those_of_the_template(connection: Connection, prefix: str, node: str) -> None:
    """What does not fit the template's type is refused before anything is sent."""
    frame = FRAME.assign(st=["a", "b"])
    assert plan(frame, f"{prefix}.{node}", connection=connection).problems
    with pytest.raises(ColumnTypeError, match="INT32, its type on the server"):
        write(frame, f"{prefix}.{node}", connection=connection)


@pytest.mark.parametrize("node", ["on", "new"])
def test_a_new_column_goes_into_the_template(
    connection: Connection, prefix: str, node: str
) -> None:
    """A column that the template lacks is added to it as asked, and the plan and report say so."""
    target, frame = f"{prefix}.{node}", FRAME.assign(**{"x y": [7, 8]})
    asked: dict[str, Any] = {"schema": {"x y": "INT64"}, "connection": connection}
    planned = plan(frame, target, **asked)
    name = prefix.replace(".", "_")
    assert planned.ddl == (
        f"ALTER DEVICE TEMPLATE {name} ADD (`x y` INT64 ENCODING=TS_2DIFF COMPRESSOR=LZ4)",
    )
    report = write(frame, target, **asked)
    assert report.points == 6
    assert any("gets x y, for all of its devices" in note for note in report.notes)
    assert columns_of(connection, f"{prefix}.on")["`x y`"] == "INT64"
    again = plan(frame, target, connection=connection)
    assert again.ddl == ()
    assert not any(" gets " in note for note in again.notes)


@pytest.mark.parametrize("n_devices", [3, 20])
def test_many_devices_some_below_a_template(
    connection: Connection, prefix: str, n_devices: int
) -> None:
    """Devices below a template and others go out in one frame, few and many."""
    base = prefix.rpartition(".")[0]
    own = prefix.rpartition(".")[2]
    names = [f"{own}.{'on' if i == 0 else f'd{i}'}" for i in range(n_devices)]
    names += [f"{own}_free.d{i}" for i in range(n_devices)]
    frame = pd.concat([FRAME.assign(d=name, extra=1.0) for name in names])
    report = write(frame, base, device="d", connection=connection)
    assert report.points == 6 * len(names)
    for name in (names[0], names[1], names[-1]):
        assert columns_of(connection, f"{base}.{name}") == {
            "temp": "DOUBLE",
            "st": "INT32",
            "extra": "DOUBLE",
        }
        found = read(f"{base}.{name}", columns=["temp", "extra"], connection=connection)
        assert found.to_dict("list") == {"temp": [1.5, 2.5], "extra": [1.0, 1.0]}


def test_a_sink_below_a_template(server: LocalServer, connection: Connection, prefix: str) -> None:
    """A sink writes to devices below a template, with a new measurement too."""
    url = f"iotdb://root:{server.options.password}@127.0.0.1:{server.port}"
    with IoTDBSink(IoTDBOptions(url=url)) as sink:
        for node in ("on", "new"):
            sink.send({"device": f"{prefix}.{node}", "timestamp": 1, "temp": 1.5})
        sink.flush()
        for node in ("on", "new"):
            sink.send({"device": f"{prefix}.{node}", "timestamp": 2, "temp": 2.5, "more": 7.0})
        sink.flush()
        assert sink.stats.rejected == 0
    for node in ("on", "new"):
        found = read(f"{prefix}.{node}", columns=["temp", "more"], connection=connection)
        assert found["temp"].tolist() == [1.5, 2.5]
        assert found["more"].tolist()[1:] == [7.0]
