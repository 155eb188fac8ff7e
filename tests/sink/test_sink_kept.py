"""What a sink cannot store, on the real server: refused events, full disks, damaged spools."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_spool import crashed, flip, one_row

from full_disk import full_disk
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError, IoTDBFramesError
from iotdb_frames.server import LocalServer
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.sink.spool import Spool, to_stream
from sinks import T0, options_of, stored


@pytest.fixture
def options(server: LocalServer, database: str) -> IoTDBOptions:
    """The server and the test's database."""
    return options_of(server, database)


def row(i: int, **values: Any) -> dict[str, Any]:
    """An event."""
    return {"device": "d1", "timestamp": T0 + i, **values}


@pytest.mark.parametrize("has_spool", [False, True])
def test_events_that_cannot_be_serialised_are_collected(
    options: IoTDBOptions, connection: Connection, database: str, tmp_path: Path, has_spool: bool
) -> None:
    """Such an event goes to the dead letter, in its own words; all around it is stored."""
    sink = IoTDBSink(
        options,
        on_error="collect",
        dead_letter=tmp_path / "dead",
        spool=tmp_path / "spool" if has_spool else None,
    )
    no_device = pd.DataFrame({"v": [1.5, 2.5]}, index=pd.to_datetime([T0, T0], unit="ms"))
    with sink:
        sink.send(row(0, v=0.5))
        alone = sink.send(42)
        some = sink.send([row(1, v=1.5), {"v": 2}, row(2, v=2.5), {"device": 1, "timestamp": "x"}])
        frame = sink.send(no_device)
        sink.flush(60)
        stats = sink.stats
    assert (stats.acknowledged, stats.rejected) == (3, 5)
    assert (alone.n_rows, some.n_rows, frame.n_rows) == (1, 4, 2)
    for ticket in (alone, some, frame):
        with pytest.raises(FrameError):
            ticket.wait(0)
    assert stored(connection, f"{database}.d1") == {
        f"{database}.d1.v": {T0: 0.5, T0 + 1: 1.5, T0 + 2: 2.5}
    }
    letters = [pd.read_parquet(file) for file in sorted((tmp_path / "dead").iterdir())]
    assert [list(kept.iloc[:, -3]) for kept in letters] == [
        ["42"],
        ["{'v': 2}"],
        ["{'device': 1, 'timestamp': 'x'}"],
        [1.5, 2.5],
    ]
    assert "names no device" in letters[1]["refused_reason"][0]


class Broken:
    """A serializer with a fault of its own."""

    def serialize(self, event: Any) -> Any:
        """Raise."""
        return event["temp"]


def test_an_error_of_a_serializer_is_raised_or_collected(
    options: IoTDBOptions, tmp_path: Path
) -> None:
    """Without a dead letter `send` raises it as it is; with one it is the reason."""
    with IoTDBSink(options, Broken()) as sink, pytest.raises(KeyError, match="temp"):
        sink.send({})
    with IoTDBSink(options, Broken(), on_error="collect", dead_letter=tmp_path) as sink:
        sink.send({})
    (file,) = tmp_path.iterdir()
    assert "KeyError: 'temp'" in pd.read_parquet(file)["refused_reason"][0]


def test_refused_rows_on_a_full_disk_stay_in_the_spool(
    options: IoTDBOptions, tmp_path: Path
) -> None:
    """Rows that no file can take are reported, and refused anew by the next start."""
    spool, dead = tmp_path / "spool", tmp_path / "dead"
    kinds: dict[str, Any] = {"on_error": "collect", "dead_letter": dead, "spool": spool}
    with IoTDBSink(options, **kinds) as sink:
        sink.send(row(0, v=1.5)).wait(60)
        with full_disk(2_000):  # the spool's own file is still small
            sink.send(row(1, v="text" * 100))
            with pytest.raises(IoTDBFramesError, match="cannot be kept in") as caught:
                sink.flush(60)
        error = pickle.loads(pickle.dumps(caught.value))
        assert (error.report.rows_written, error.report.rows_refused) == (1, 1)
        assert list(dead.iterdir()) == []
    with IoTDBSink(options, **kinds) as sink:
        sink.flush(60)
        assert (sink.stats.replayed, sink.stats.rejected) == (1, 1)
    (file,) = dead.iterdir()
    assert pd.read_parquet(file)["v"].tolist() == ["text" * 100]
    assert sorted(path.name for path in spool.iterdir()) == ["lock"]


def test_an_event_on_a_full_disk_is_not_taken(
    options: IoTDBOptions, connection: Connection, database: str, tmp_path: Path
) -> None:
    """Where the spool cannot grow `send` says so, and the sink goes on when it can."""
    with IoTDBSink(options, spool=tmp_path) as sink:
        sink.send(row(0, v=0.5)).wait(60)
        with full_disk(0), pytest.raises(IoTDBFramesError, match="cannot be written: "):
            sink.send(row(1, v=1.5))
        sink.send(row(2, v=2.5)).wait(60)
    assert stored(connection, f"{database}.d1") == {f"{database}.d1.v": {T0: 0.5, T0 + 2: 2.5}}


def test_a_damaged_spool_is_raised_at_open(
    options: IoTDBOptions, connection: Connection, database: str, tmp_path: Path
) -> None:
    """What can be read of it is stored, the loss is raised and counted, its file is kept."""
    before = Spool(tmp_path)
    before.append([to_stream(one_row(T0 + i, f"{database}.d1", v=i)) for i in range(10)])
    before.close()
    flip(tmp_path / "00000001.batches", 2_000)
    sink = IoTDBSink(options, spool=tmp_path)
    with pytest.raises(IoTDBFramesError, match=r"damaged: 1 batch in 00000001\.batches"):
        sink.open()
    sink.flush(60)
    assert (sink.stats.replayed, sink.stats.damaged) == (9, 1)
    sink.close()
    assert len(stored(connection, f"{database}.d1")[f"{database}.d1.v"]) == 9
    names = ["00000001.batches.damaged", "lock"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    with IoTDBSink(options, spool=tmp_path) as again:
        assert again.stats.replayed == 0


def test_a_with_block_on_a_damaged_spool_ends_what_it_opened(
    options: IoTDBOptions, database: str, tmp_path: Path
) -> None:
    """The first start raises and leaves nothing open, the second goes on."""
    flip(crashed(tmp_path, f"{database}.d1"), 2_000)
    with pytest.raises(IoTDBFramesError, match="is damaged"), IoTDBSink(options, spool=tmp_path):
        pass
    with IoTDBSink(options, spool=tmp_path) as sink:
        sink.flush(60)
