"""Requests: the same database however they are cut, in order, of the size asked for."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain, pairwise
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import checked, days, plan_of, requests_of

from iotdb_frames.codec.tablet import Tablet
from iotdb_frames.writes.plan.chunks import MAX_TABLETS, OVERSIZE, Request, lanes
from stored import devices_of, stored, visible
from tablet_reader import read_values

MIB = 1 << 20


@st.composite
def frames(draw: st.DrawFn) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A frame of some rows on few times and few devices, and the options to write it."""
    n_rows = draw(st.integers(1, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for i, kind in enumerate(draw(st.lists(st.sampled_from("fitbs"), min_size=1, max_size=5))):
        missing = random.random(n_rows) < draw(st.sampled_from([0, 0.3, 1.0]))
        values: Any = {
            "f": lambda: random.normal(size=n_rows),
            "i": lambda: random.integers(-9, 9, n_rows),
            "t": lambda: random.integers(0, 9, n_rows).astype("M8[s]"),
            "b": lambda: random.random(n_rows) < 0.5,
            "s": lambda: np.array(["", "é", "x" * random.integers(99)], object)[
                random.integers(0, 3, n_rows)
            ],
        }[kind]()
        columns[f"c{i}"] = pd.Series(values).convert_dtypes().mask(missing)
    frame = pd.DataFrame(columns)
    frame.index = pd.DatetimeIndex(
        random.integers(0, draw(st.integers(1, 50)), n_rows).astype("M8[ms]")
    )
    how = draw(st.sampled_from(["wide", "device", "tags", "parts"]))
    if how == "wide":
        return frame, {}
    names = np.array(["x", "y", "z.z", None], object)[random.integers(0, 4, n_rows)]
    if how == "device":
        frame["n"] = np.where(names == None, "x", names)  # noqa: E711 - element by element
        return frame, {"device": "n"}
    if how == "tags":
        frame["n"] = names
        frame["m"] = pd.Categorical(random.choice(["p", "q"], n_rows))
        return frame, {"target": "db.t", "tags": ["n", "m"]}
    devices = random.choice(["x", "y", "z"], frame.shape[1])
    frame.columns = pd.MultiIndex.from_arrays([devices, frame.columns])
    return frame, {}


@given(
    frames(),
    st.integers(1, 70) | st.integers(60, 3000).map(lambda n: f"{n}B"),
    st.integers(1, 4),
    st.sampled_from(["merge", "first", "last"]),
    st.integers(0, 3),
)
def test_any_chunks_workers_and_leaders_store_the_same(
    drawn: tuple[pd.DataFrame, dict[str, Any]],
    chunk: int | str,
    workers: int,
    duplicates: str,
    n_leaders: int,
) -> None:
    """Chunk size, number of workers and who leads a device change neither what is stored nor any
    device's order; no request has devices of two leaders."""

    def leader_of(device: Hashable) -> str | None:
        return (None, "a", "b")[crc32(repr(device).encode()) % n_leaders] if n_leaders else None

    frame, options = drawn
    options = options | {"duplicates": duplicates}
    whole = plan_of(frame, chunk=1_000, **options)
    parts = plan_of(frame, chunk=chunk, workers=workers, **options)
    if not whole.parts[0].written and len(whole.parts) == 1:
        assert requests_of(parts) == []
        return
    found = lanes(parts, leaders_of=lambda devices: [leader_of(device) for device in devices])
    by_lane = [list(lane) for lane in found]
    for request in chain.from_iterable(by_lane):
        assert len({leader_of(d) for tablet in request.tablets for d in tablet.devices}) <= 1
        for tablet in request.tablets:
            assert_says_whose_rows(tablet)
    for one, other in ((a, b) for i, a in enumerate(by_lane) for b in by_lane[:i]):
        assert not devices_of(one) & devices_of(other)
    assert len(by_lane) <= workers
    for lane in by_lane:
        assert_ascends(lane)
    requests = [request for lane in by_lane for request in lane]
    assert visible(stored(requests)) == visible(stored(requests_of(whole)))
    assert sum(r.n_points for r in requests) >= sum(
        v is not None for row in stored(requests).values() for v in row.values()
    )


def assert_says_whose_rows(tablet: Tablet) -> None:
    """A table's tablet says the device of each of its rows, by the first of them."""
    if tablet.categories is None:
        assert tablet.devices == [tablet.target]
        return
    tags = tag_cells(tablet)
    keys = [tuple(cells[row] for cells in tags) for row in range(tablet.n_rows)]
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(keys), 1) if a != b)]
    assert {row: device[1:] for device, row in tablet.led} == {row: keys[row] for row in starts}


def tag_cells(tablet: Tablet) -> list[list[Any]]:
    """The cells of each tag of a table's tablet."""
    columns = read_values(bytes(tablet.values), tablet.types, tablet.n_rows)
    kinds = tablet.categories or ()
    tags = [column for column, kind in zip(columns, kinds, strict=True) if kind == 0]
    return [[None if cell is None else cell.decode() for cell in column] for column in tags]


def assert_ascends(requests: list[Request]) -> None:
    """From request to request the rows of a device and its columns ascend in time, too."""
    last: dict[Any, int] = {}
    for request in requests:
        for key, cells in stored([request]).items():
            for name in cells:
                assert last.get((*key[:-1], name), key[-1]) <= key[-1]
                last[*key[:-1], name] = key[-1]


def reference(frame: pd.DataFrame, duplicates: str) -> dict[Any, Any]:
    """What a wide frame of numbers means, row by row."""
    rows: dict[Any, Any] = {}
    for time, row in zip(
        frame.index.as_unit("ms").asi8.tolist(), frame.to_dict("records"), strict=True
    ):
        new = {name: None if pd.isna(v) else v for name, v in row.items()}
        old = rows.get(time)
        if old is not None and duplicates == "first":
            continue
        if old is not None and duplicates == "merge":
            new = {name: old[name] if v is None else v for name, v in new.items()}
        rows[time] = new
    return {("root.a.d", time): row for time, row in rows.items()}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 9), st.none() | st.just(1.5))),
    st.sampled_from(["merge", "first", "last"]),
    st.integers(1, 4),
)
def test_duplicates_mean_what_they_say(rows: list[Any], duplicates: str, chunk: int) -> None:
    """merge: per column the last value there is; first and last: whole rows."""
    index = pd.DatetimeIndex(np.array([t for t, _, _ in rows], "M8[ms]"))
    frame = pd.DataFrame(
        {
            "a": pd.array([a for _, a, _ in rows], "Int64"),
            "b": pd.array([b for _, _, b in rows], "Float64"),
        },
        index=index,
    )
    planned = checked(frame, duplicates=duplicates, chunk=chunk)
    assert stored(requests_of(planned)) == reference(frame, duplicates)
    assert planned.order.n_duplicates == len(rows) - index.nunique()


@given(frames())
def test_halves_hold_what_the_whole_held(drawn: tuple[pd.DataFrame, dict[str, Any]]) -> None:
    """A request cut in two, and again, down to one cell, stores the same."""
    frame, options = drawn
    planned = plan_of(frame, chunk=1_000, **options)

    def atoms(request: Request) -> list[Request]:
        halves = request.halve() if request.halve else []
        if not halves:
            return [request]
        assert sum(h.n_points for h in halves) == request.n_points
        return [atom for half in halves for atom in atoms(half)]

    for request in requests_of(planned):
        pieces = [piece for piece in atoms(request) if piece.tablets]
        assert visible(stored(pieces)) == visible(stored([request]))
        assert_ascends(pieces)
        assert all(len(piece.tablets) == 1 for piece in pieces)


@pytest.mark.parametrize("chunk", ["64KiB", "1MiB"])
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_requests_are_as_large_as_asked_for(chunk: str, order: str) -> None:
    """Numbers fill a chunk, texts much longer than the average do not burst it."""
    n_rows = 40_000
    random = np.random.default_rng(1)
    texts = np.array(["x"] * n_rows, object)
    texts[random.integers(0, n_rows, 200)] = "y" * 5_000
    frame = pd.DataFrame({"a": random.normal(size=n_rows), "s": texts}, index=days(n_rows))
    if order == "shuffled":
        frame = frame.iloc[random.permutation(n_rows)]
    limit = {"64KiB": 64 << 10, "1MiB": MIB}[chunk]
    requests = requests_of(checked(frame, chunk=chunk))
    assert max(r.n_bytes for r in requests) <= OVERSIZE * limit
    assert sum(r.n_rows for r in requests) == n_rows
    numbers = requests_of(checked(frame[["a"]], chunk=chunk))
    full = [r.n_bytes for r in numbers]
    assert max(full) <= limit + 16
    assert sum(n > limit * 0.9 for n in full) >= len(full) - 4


@pytest.mark.parametrize("target", ["root.a.d", "db.t"])
def test_a_row_larger_than_a_chunk_is_cut_by_columns(target: str) -> None:
    """Columns of a row go out in pieces that fit; in a table each piece has the tags."""
    frame = pd.DataFrame(np.ones((3, 500)), index=days(3)).rename(columns="c{}".format)
    options: dict[str, Any] = {}
    if target == "db.t":
        frame["tag"] = ["p", "q", "p"]
        options = {"tags": ["tag"]}
    planned = checked(frame, target, chunk="1KiB", **options)
    requests = requests_of(planned)
    assert max(r.n_bytes for r in requests) <= 1.2 * 1024
    assert stored(requests) == stored(requests_of(checked(frame, target, **options)))


def test_many_small_devices_share_a_request() -> None:
    """A thousand devices of one row, by rows and by columns: few requests."""
    names = [f"d{i}" for i in range(1000)]
    long = pd.DataFrame({"n": names, "v": 1.0}, index=days(1).repeat(1000))
    assert len(requests_of(checked(long, "root.a", device="n"))) <= 8
    wide = pd.DataFrame(
        np.ones((1, 1000)), index=days(1), columns=pd.MultiIndex.from_product([names, ["v"]])
    )
    requests = requests_of(checked(wide, "root.a"))
    assert len(requests) == 1
    assert len(requests[0].tablets) == 1000


@pytest.mark.parametrize("n_rows", [1, 3])
def test_a_request_has_a_thousand_devices_at_the_most(n_rows: int) -> None:
    """The server logs the new devices of a request as one entry, whose size has a limit."""
    n_devices = 2_500
    frame = pd.DataFrame(
        {"a": 1.0, "n": np.repeat(np.char.mod("d%04d", np.arange(n_devices)), n_rows)},
        index=days(n_rows).append([days(n_rows)] * (n_devices - 1)),
    )
    requests = requests_of(plan_of(frame, device="n"))
    assert max(len(r.tablets) for r in requests) == MAX_TABLETS
    assert len(requests) < 7
    assert sum(r.n_rows for r in requests) == len(frame)
    assert len({t.target for r in requests for t in r.tablets}) == n_devices


def test_lanes_share_the_rows() -> None:
    """Workers get about the same number of rows; a single device has one lane."""
    names = np.repeat([f"d{i}" for i in range(100)], 50)
    frame = pd.DataFrame({"n": names, "v": 1.0}, index=np.tile(days(50), 100))
    sizes = [sum(r.n_rows for r in lane) for lane in lanes(checked(frame, device="n", workers=4))]
    assert sizes == [1250] * 4
    assert len(lanes(checked(frame[:50], device="n", workers=4))) == 1


def test_rows_that_are_refused_leave_no_trace() -> None:
    """Collected rows are in no request, and their devices are not even made."""
    frame = pd.DataFrame(
        {"n": ["x", None, "y", "x"], "v": [1.0, 2.0, 0.5, 4.0]}, index=days(4).where([1, 1, 1, 0])
    )
    planned = checked(
        frame,
        device="n",
        schema={"v": "INT32"},
        on_error="collect",
        dead_letter="x.parquet",
    )
    assert stored(requests_of(planned)) == {("root.a.d.x", 0): {"v": 1}}
    assert planned.devices == ("root.a.d.x",)
    assert planned.n_devices == 1


def test_what_is_sent_ascends_within_each_device() -> None:
    """Time-interleaved devices come out device by device, each ascending, ties in frame order."""
    frame = pd.DataFrame(
        {"n": list("yxyxyx"), "v": range(6)}, index=days(2).repeat(3)[[3, 0, 4, 1, 5, 2]]
    )
    (request,) = requests_of(checked(frame, device="n", chunk=100))
    seen = [(t.target[-1], t.n_rows) for t in request.tablets]
    assert sorted(seen) == [("x", 3), ("y", 3)]
    ticks = frame.index.asi8[request.rows]
    devices = frame["n"].to_numpy()[request.rows]
    for (t0, d0, r0), (t1, d1, r1) in pairwise(zip(ticks, devices, request.rows, strict=True)):
        assert d0 != d1 or (t0, r0) < (t1, r1)
