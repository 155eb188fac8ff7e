"""What is deleted takes nothing else with it, though the server has it still in memory."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.quotes import quote_path_node
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.server import LocalServer

INDEX = pd.date_range("2024-03-01", periods=4_000, freq="1s", name="time")
FRAME = pd.DataFrame({"site": "A", "n": np.arange(4_000)}, INDEX)
FRAME["half"] = np.where(FRAME["n"] % 3 == 0, FRAME["n"] / 2, np.nan)


def delete(target: str, connection: Connection) -> None:
    """Delete 100 rows."""
    iotf.delete(target, start=INDEX[1_000], end=INDEX[1_100], connection=connection)


def replace(target: str, connection: Connection) -> None:
    """Write 100 rows in place of themselves."""
    iotf.write(FRAME.iloc[1_000:1_100], target, tags=["site"], replace=True, connection=connection)


@pytest.mark.parametrize("change", [delete, replace])
def test_other_rows_of_a_table_stay(
    server: LocalServer, change: Callable[[str, Connection], None]
) -> None:
    """After a delete, and after `replace=True`, the other rows of a table are what they were."""
    with Connection(lambda: server.options, label=server.url) as connection:
        iotf.execute("CREATE DATABASE beside", model="table", connection=connection)
        try:
            iotf.write(FRAME, "beside.t", tags=["site"], connection=connection)
            change("beside.t", connection)
            iotf.execute("FLUSH", model="table", connection=connection)
            found = iotf.read("beside.t", connection=connection)
            want = FRAME if change is replace else FRAME.drop(INDEX[1_000:1_100])
            assert len(found) == len(want)
            for name in ("n", "half"):
                np.testing.assert_array_equal(
                    found[name].astype("float64"), want[name].astype("float64"), name
                )
        finally:
            iotf.execute("DROP DATABASE beside", model="table", connection=connection)


ODD = [f"a{mark}b" for mark in f"{string.punctuation} " if mark not in "*_"]
ODD += ["1.5", "[x]", "(x)", "x+", "^x", "x$", "a{2}b", r"\d", r"\Qx\E", ".", "|", "`"]
LIKE_THEM = ["ab", "aXb", "aab", "a_b", "115", "1e5", "x", "xx", "5", "d"]
ROWS = pd.DataFrame(
    np.arange(3.0 * (len(ODD) + len(LIKE_THEM))).reshape(3, -1),
    INDEX[:3],
    columns=[*ODD, *LIKE_THEM],
)
SECOND = {"start": INDEX[1], "end": INDEX[2]}


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("change", ["delete", "replace"])
def test_other_columns_of_a_device_stay(
    connection: Connection, device: str, change: str, aligned: bool
) -> None:
    """Whatever marks a column has in its name, its values go and those of no other column."""
    for i, name in enumerate(ODD):
        path = f"{device}.d{i}"
        iotf.write(ROWS, path, aligned=aligned, connection=connection)
        want = ROWS.copy()
        if change == "delete":
            iotf.delete(path, columns=[name], **SECOND, connection=connection)
            want.loc[INDEX[1], name] = np.nan
        else:
            want.loc[INDEX[1], name] = -1.0
            iotf.write(want.loc[[INDEX[1]], [name]], path, replace=True, connection=connection)
        found = iotf.read(path, columns=list(ROWS), connection=connection)
        pd.testing.assert_frame_equal(found, want, check_freq=False, check_index_type=False)


@pytest.mark.parametrize("undo", ["delete", "drop"])
def test_other_devices_stay(connection: Connection, device: str, undo: str) -> None:
    """Whatever marks a device has in its name, its values go and those of no other device."""
    paths = {name: f"{device}.{quote_path_node(name)}" for name in (*ODD, *LIKE_THEM)}
    rows = pd.concat([ROWS[["ab", "a.b"]].assign(device=path) for path in paths.values()])
    iotf.write(rows, device, device="device", connection=connection)
    for name in ODD:
        if undo == "drop":
            iotf.drop(paths[name], connection=connection)
        else:
            iotf.delete(paths[name], connection=connection)
    found = iotf.read(f"{device}.**", connection=connection)
    assert set(found["device"]) == set(map(quote_path_node, LIKE_THEM))
    assert len(found) == len(ROWS) * len(LIKE_THEM)


@pytest.fixture
def limited(server: LocalServer, connection: Connection, device: str) -> Iterator[Connection]:
    """A connection whose user may do everything below `device`, and not flush."""
    user, password = "no_flush", "a-long-Passw0rd"
    iotf.execute(f"CREATE USER {user} '{password}'", model="tree", connection=connection)
    for right in ("READ_DATA", "WRITE_DATA", "READ_SCHEMA", "WRITE_SCHEMA"):
        sql = f"GRANT {right} ON {device}.** TO USER {user}"
        iotf.execute(sql, model="tree", connection=connection)
    options = ConnectionOptions(hosts=server.options.hosts, user=user, password=password)
    with Connection(lambda: options, label=server.url) as opened:
        yield opened
    iotf.execute(f"DROP USER {user}", model="tree", connection=connection)


def test_without_the_right_to_flush(
    limited: Connection, connection: Connection, device: str
) -> None:
    """Who may not flush is refused before anything is deleted; plain names need no flush."""
    path = f"{device}.d"
    iotf.write(ROWS, path, connection=connection)
    for call in (
        lambda: iotf.delete(path, columns=["x", "a.b"], connection=limited),
        lambda: iotf.write(ROWS[["x", "a.b"]], path, replace=True, connection=limited),
    ):
        with pytest.raises(iotf.PermissionDenied) as caught:
            call()
        assert "FLUSH" in (caught.value.hint or "")
        found = iotf.read(path, columns=list(ROWS), connection=connection)
        pd.testing.assert_frame_equal(found, ROWS, check_freq=False, check_index_type=False)
    iotf.delete(path, columns=["x"], **SECOND, connection=limited)
    assert iotf.read(path, connection=connection)["x"].count() == 2
