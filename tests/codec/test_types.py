"""The type table, and the page that shows it."""

from __future__ import annotations

from iotdb_frames.codec.types import REFUSED, TABLE, WIRE, markdown_table
from iotdb_frames.options import TSDataType


def test_every_iotdb_type_can_be_written() -> None:
    """Each type has bytes, and some kind of column goes into it."""
    assert set(WIRE) == set(TSDataType)
    assert {t for kind in TABLE.values() for t in kind.targets} == set(TSDataType)


def test_a_kind_goes_into_its_default() -> None:
    """What the table calls the default of a kind is one of its targets."""
    for kind in TABLE.values():
        if kind.name != "null":
            assert kind.default.split()[0].rstrip(",") in {t.name for t in kind.targets}


def test_the_printed_table_has_every_kind() -> None:
    """The docs' table is made of the code's, with a line for each kind and each refusal."""
    text = markdown_table()
    assert all(f"| {kind.dtypes} |" in text for kind in TABLE.values())
    assert all(f"- {name}: " in text for name in REFUSED)
