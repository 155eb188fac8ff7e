"""What a write logs: what it planned, created, sent and retried, and never a value or a secret."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError, IoTDBFramesError
from iotdb_frames.options import RetryPolicy
from iotdb_frames.server import LocalServer
from proxy import Proxy, proxy_to

PASSWORD = "xyzzy-Secret-42"
VALUE = "confidential-7391"
NUMBER = 73915.5
QUICK = RetryPolicy(attempts=4, first_wait_s=0.01, longest_wait_s=0.05)


@pytest.fixture
def line(server: LocalServer, connection: Connection) -> Iterator[tuple[Proxy, Connection]]:
    """A proxy, and a connection through it of a user whose password is known here."""
    for sql in (f"CREATE USER noted '{PASSWORD}'", "GRANT ALL ON root.** TO USER noted"):
        iotf.execute(sql, model="tree", connection=connection)
    iotf.execute("GRANT ALL TO USER noted", model="table", connection=connection)
    with proxy_to(server.port) as proxy:
        options = replace(
            server.options, hosts=(("127.0.0.1", proxy.port),), user="noted", password=PASSWORD
        )
        with Connection(lambda: options, label="proxied") as made:
            yield proxy, made
    iotf.execute("DROP USER noted", model="tree", connection=connection)


def _frame() -> pd.DataFrame:
    index = pd.date_range("2026-01-01", periods=3, freq="s", name="time")
    return pd.DataFrame({"temp": NUMBER, "note": VALUE, "machine": f"m-{VALUE}"}, index=index)


def test_a_write_is_told_and_no_value_nor_secret(
    line: tuple[Proxy, Connection], device: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG each step shows; values, devices and tags among them, and the password do not."""
    proxy, noted = line
    caplog.set_level(logging.DEBUG)
    how: dict[str, Any] = {"connection": noted, "retry": QUICK, "progress": False}
    frame = _frame()
    frame.iotdb.write(device, **how)
    for word in (f"planned: 3 rows for {device}", "created", "temp DOUBLE", "sent: 3 rows"):
        assert word in caplog.text
    frame.iotdb.write(f"{device}.m", device="machine", **how)
    frame.iotdb.write(table, tags=["machine"], **how)
    assert "CREATE TABLE" in caplog.text
    caplog.clear()
    proxy.answer_cuts = 1
    report = frame.iotdb.write(device, **how)
    assert report.retries == 1
    assert "after 1 retry" in caplog.text
    with pytest.raises(FrameError):
        frame.iotdb.write(device, schema={"note": "INT64"}, **how)
    proxy.is_closed.set()
    proxy.cut_after = 0
    with pytest.raises(IoTDBFramesError):
        frame.iotdb.write(device, **how)
    everything = "\n".join(record.getMessage() for record in caplog.records)
    for secret in (PASSWORD, VALUE, str(NUMBER), f"{NUMBER:g}"):
        assert secret not in caplog.text
        assert secret not in everything


def test_nothing_is_put_into_words_where_nobody_listens(
    connection: Connection, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With logging as it is, a write formats no message."""
    made: list[logging.LogRecord] = []
    factory = logging.getLogRecordFactory()

    def note(*args: Any, **options: Any) -> logging.LogRecord:
        made.append(factory(*args, **options))
        return made[-1]

    monkeypatch.setattr(logging, "_logRecordFactory", note)
    logging.getLogger("iotdb_frames").setLevel(logging.WARNING)
    try:
        _frame().iotdb.write(device, connection=connection, progress=False)
    finally:
        logging.getLogger("iotdb_frames").setLevel(logging.NOTSET)
    assert not made
