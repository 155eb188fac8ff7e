"""What is in the server, as frames that a notebook shows like everything else."""

from __future__ import annotations

import pickle
from typing import Any

import pandas as pd
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError
from iotdb_frames.reads.schema_frame import SchemaFrame
from iotdb_frames.reads.show import show
from iotdb_frames.writes.writer import write

INDEX = pd.DatetimeIndex(["2024-01-01"], name="time")


def test_series_are_shown(connection: Connection, device: str) -> None:
    """The series below a path, a row each, and as a card without what none of them has."""
    write(pd.DataFrame({"a": [1], "b": ["x"]}, INDEX), device, connection=connection)
    found = show("timeseries", device, connection=connection)
    assert sorted(found["DataType"]) == ["INT64", "STRING"]
    html = found._repr_html_()
    for word in ("timeseries", device, "2 rows", "DataType", "INT64"):
        assert word in html
    assert "Tags" in found
    assert "Tags" not in html


def test_columns_of_a_table_are_shown(connection: Connection, table: str) -> None:
    """Each column of a table with its category."""
    frame = pd.DataFrame({"a": [1], "site": ["x"]}, INDEX)
    write(frame, table, tags=["site"], connection=connection)
    found = show("columns", table, connection=connection)
    assert dict(zip(found["ColumnName"], found["Category"], strict=True)) == {
        "time": "TIME",
        "site": "TAG",
        "a": "FIELD",
    }


def test_what_is_made_of_it_is_a_plain_frame() -> None:
    """Selections and sums are ordinary frames; a pickle and a copy are not lost."""
    found = SchemaFrame.of(pd.DataFrame({"a": [1, 2]}), what="devices", where="root.**")
    assert type(found[found["a"] > 1]) is pd.DataFrame
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(found)), found)


def test_a_card_of_it_is_escaped_short_and_may_be_empty() -> None:
    """Names are text, long frames say how much more there is, and nothing is nothing."""
    names = ["<script>"] + ["x"] * 99
    many = SchemaFrame.of(pd.DataFrame({"name": names, "n": 1}), what="devices", where="<b>")
    html = many._repr_html_()
    assert "<script>" not in html
    assert "<b></code>" not in html
    assert "80 more rows" in html
    assert html.count("<tr>") == 21
    none = SchemaFrame.of(pd.DataFrame({"name": []}), what="devices", where="")
    assert "0 rows" in none._repr_html_()


@pytest.mark.parametrize(
    ("what", "options"),
    [
        *((what, {}) for what in ("everything", [], None, 5, pd.NA)),
        *(("devices", {"target": target}) for target in (5, "", [], pd.NA, b"root.a")),
        *(("devices", {"model": model}) for model in ("x", 5, [], pd.NA)),
        ("tables", {"model": "tree"}),
        ("timeseries", {"target": "a.b"}),
        ("columns", {}),
        ("tables", {"target": "a\ud800"}),
    ],
)
def test_what_cannot_be_shown(connection: Connection, what: Any, options: dict[str, Any]) -> None:
    """What is not known, and what is not text, is refused in words."""
    with pytest.raises(OptionsError):
        show(what, connection=connection, **options)
