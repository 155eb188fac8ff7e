"""Tables as text: what a terminal shows, and that a pipe gets everything."""

from __future__ import annotations

import io
import sys

import pytest

from iotdb_frames.display.card import Card
from iotdb_frames.display.grid import Grid

WIDE = Grid(
    ["time\nTIMESTAMP", *(f"sensor_{i}\nDOUBLE" for i in range(12))],
    [["2026-01-01 00:00:00", *(i / 7 for i in range(12))] for _ in range(3)],
)


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_a_table_fits(width: int) -> None:
    """No line is wider than the terminal, all are aligned, and a mark tells that columns lack."""
    lines = WIDE.text(width=width)
    assert max(map(len, lines)) <= width
    at = lines[0].index("…")
    assert {line[at] for line in lines} == {"…"}
    assert "2026-01-01 00:00:00" in lines[2]


def test_what_fits_is_whole() -> None:
    """Where there is room, or no terminal, nothing is left out."""
    assert WIDE.text(width=200) == WIDE.text()
    assert "…" not in "".join(WIDE.text())
    assert WIDE.text()[1].split() == ["TIMESTAMP", *["DOUBLE"] * 12]


def test_numbers_stay_whole() -> None:
    """A text is cut before a number, which would be another one."""
    grid = Grid(["name", "n", "what"], [["x" * 60, 123456789, "y" * 60]])
    (_, row) = grid.text(width=60)
    assert len(row) <= 60
    assert "123,456,789" in row
    assert row.count("…") == 2


def test_sparse_columns_are_left_out_first() -> None:
    """A table of many columns shows those in which there is something."""
    header = ["path", *(f"empty_{i}" for i in range(5)), "unit"]
    lines = Grid(header, [["root.a.b", *[""] * 5, "bar"]]).text(width=38)
    assert lines[1].split() == ["root.a.b", "…", "bar"]


def test_wide_characters_are_aligned() -> None:
    """Characters that are two columns wide count as two, also where they are cut."""
    lines = Grid(["设备", "n"], [["温度" * 30, 1], ["a", 22]]).text(width=40)
    from rich.cells import cell_len

    assert [cell_len(line) for line in lines] == [40, 40, 40]


def test_a_card_fits_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal a card is as wide as this; elsewhere it is whole, without padding."""
    card = Card(
        "plan", "x", facts=[("server", "word " * 30)], grids=[WIDE], problems=["long " * 40]
    )
    whole = card.text()
    assert "sensor_7" in whole
    assert all(line == line.rstrip() for line in whole.splitlines())
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    lines = card.text().splitlines()
    assert max(map(len, lines)) <= 60
    assert any("…" in line for line in lines)


def test_a_report_keeps_what_the_server_says() -> None:
    """In a table of few columns texts are cut rather than one of them left out."""
    row = ["root.plant.line.press1", 5_000, "partly stored", "507", "cannot write: " + "w" * 60]
    grid = Grid(["chunk of", "rows", "state", "code", "the server says"], [row])
    header, line = grid.text(width=60)
    assert "the server" in header
    assert "cannot" in line
    assert "partly" in line
    assert len(line) <= 60
