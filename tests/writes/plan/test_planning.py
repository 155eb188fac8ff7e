"""Plans against what the server has: types, alignment, tags; and a plan's card."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import checked, days, plan_of, requests_of

from iotdb_frames.errors import ColumnTypeError, FrameError
from iotdb_frames.options import TSDataType as T
from iotdb_frames.writes.plan.plan import Existing
from stored import stored

FRAME = pd.DataFrame({"a": [1, 2], "b": [1.5, None], "s": ["x", None]}, index=days(2))
LONG = pd.DataFrame({"n": ["x", "y"], "a": [1, 2]}, index=days(2))


def tree(types: dict[str, T], *, device: str = "root.a.d", aligned: bool = True) -> Existing:
    """A device that exists."""
    return Existing(
        types={device: types},
        aligned={device: aligned},
        was_seen=True,
    )


def table(tags: tuple[str, ...], types: dict[str, T], **categories: Any) -> Existing:
    """A table that exists."""
    return Existing(
        types={"": dict.fromkeys(tags, T.STRING) | types},
        tags=tags,
        categories={
            **dict.fromkeys(tags, "tag"),
            **{name: categories.get(name, "field") for name in types},
        },
        was_seen=True,
    )


@pytest.mark.parametrize(
    ("there", "is_fine"),
    [
        (T.INT64, True),
        (T.INT32, True),
        (T.DOUBLE, True),
        (T.FLOAT, True),
        (T.TIMESTAMP, False),
        (T.STRING, False),
        (T.BOOLEAN, False),
        (T.DATE, False),
        (T.BLOB, False),
    ],
)
def test_values_go_into_the_type_that_exists(there: T, is_fine: bool) -> None:
    """An existing series keeps its type, and what cannot go into it exactly is refused."""
    existing = tree({"a": there})
    if not is_fine:
        with pytest.raises(ColumnTypeError, match="on the server") as caught:
            checked(FRAME, existing=existing)
        assert caught.value.column == "a"
        return
    planned = checked(FRAME, existing=existing)
    column = planned.parts[0].columns[0]
    assert (column.data_type, column.state) == (there, "exists")
    assert [c.state for c in planned.parts[0].columns[1:]] == ["new", "new"]


def test_a_value_too_large_for_the_existing_type_is_named() -> None:
    """A narrower existing series takes what fits; the first value that does not is named."""
    frame = FRAME.assign(a=[1, 2**40])
    with pytest.raises(ColumnTypeError, match=str(2**40)) as caught:
        checked(frame, existing=tree({"a": T.INT32}))
    assert (caught.value.column, caught.value.row) == ("a", 1)
    assert "exists with this type" in str(caught.value)


def test_existing_and_asked_types_must_agree() -> None:
    """schema= cannot change the type of an existing series."""
    with pytest.raises(ColumnTypeError, match=r"is INT64 on the server.*DOUBLE"):
        checked(FRAME, existing=tree({"a": T.INT64}), schema={"a": "DOUBLE"})


def test_an_existing_device_is_written_its_own_way() -> None:
    """aligned= is for new devices; where an existing one is otherwise the plan says so."""
    planned = checked(FRAME, existing=tree({}, aligned=False))
    (request,) = requests_of(planned)
    assert not request.tablets[0].is_aligned
    assert any("exists as non-aligned" in note for note in planned.notes)
    assert requests_of(checked(FRAME))[0].tablets[0].is_aligned
    assert not requests_of(checked(FRAME, aligned=False))[0].tablets[0].is_aligned


def test_one_column_of_two_types_is_refused() -> None:
    """A device column over devices whose series differ in type has no one type."""
    existing = Existing(
        types={"root.a.x": {"a": T.INT32}, "root.a.y": {"a": T.DOUBLE}}, was_seen=True
    )
    with pytest.raises(ColumnTypeError, match="DOUBLE and INT32 in different devices"):
        checked(LONG, "root.a", device="n", existing=existing)


def test_a_column_of_nothing_takes_its_type_from_the_server() -> None:
    """Without values a column is left out, said so, and written where its type is known."""
    frame = FRAME.assign(e=[None, None])
    planned = checked(frame)
    assert any("left out" in note and "e" in note for note in planned.notes)
    assert planned.parts[0].columns[-1].state == "left out"
    for known in ({"existing": tree({"e": T.BLOB})}, {"schema": {"e": "BLOB"}}):
        (request,) = requests_of(checked(frame, **known))
        assert request.tablets[0].names == ["a", "b", "s", "e"]


def test_an_existing_table_knows_its_tags() -> None:
    """A call that names no tags takes the table's own, in the table's order."""
    frame = FRAME.assign(t=["u", "v"], z=["w", "w"])
    existing = table(("z", "t"), {"a": T.INT64, "k": T.STRING}, k="attribute")
    (request,) = requests_of(checked(frame, "db.m", existing=existing))
    assert request.tablets[0].names == ["z", "t", "a", "b", "s"]
    assert request.tablets[0].categories == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "column", "text"),
    [
        ({"tags": ["s"]}, "s", "is a field"),
        ({"attributes": ["t"]}, "t", "is a tag"),
        ({"tags": ["k"]}, "k", "is a attribute"),
    ],
)
def test_categories_cannot_change(options: dict[str, Any], column: str, text: str) -> None:
    """A tag that is a field of the existing table, and the like, is refused."""
    frame = FRAME.assign(t=["u", "v"], k=["w", "w"])
    existing = table(("t",), {"s": T.STRING, "k": T.STRING}, k="attribute")
    with pytest.raises(FrameError) as caught:
        checked(frame, "db.m", existing=existing, **options)
    assert caught.value.column == column
    assert text in caught.value.message
    assert "its tags are t" in str(caught.value)


def test_an_adopted_tag_must_hold_text() -> None:
    """A column of numbers that is a tag of the existing table is refused."""
    with pytest.raises(FrameError, match="must hold text"):
        checked(FRAME, "db.m", existing=table(("a",), {"b": T.DOUBLE}))


def test_a_missing_tag_is_said() -> None:
    """A frame without a tag of the table writes to its null: the plan says so."""
    planned = checked(FRAME, "db.m", existing=table(("who",), {"a": T.INT64}))
    assert any("who" in note for note in planned.notes)


@given(st.lists(st.sampled_from(["u", "v", "", None]), min_size=1, max_size=9), st.data())
def test_null_tags_are_their_own_devices(tags: list[str | None], data: st.DataObject) -> None:
    """A null tag is a device of its own, other than the empty text."""
    ticks = data.draw(st.lists(st.integers(0, 3), min_size=len(tags), max_size=len(tags)))
    frame = pd.DataFrame(
        {"t": pd.Series(tags, dtype=object), "v": range(len(tags))},
    ).set_index(pd.DatetimeIndex(np.array(ticks, "M8[ms]")))
    planned = checked(frame, "db.m", tags=["t"], chunk=2)
    expected = {
        ("m", None if tag is None else tag.encode(), tick): {"v": v}
        for v, (tag, tick) in enumerate(zip(tags, ticks, strict=True))
    }
    assert stored(requests_of(planned)) == expected
    assert planned.n_devices == len(set(tags))


def test_replace_would_not_lose_a_field() -> None:
    """replace= in a table deletes rows whole: a field that the frame lacks is a problem first."""
    existing = table((), {"a": T.INT64, "other": T.DOUBLE})
    with pytest.raises(FrameError, match="lacks: other"):
        checked(FRAME, "db.m", existing=existing, replace=True)
    checked(FRAME.assign(other=1.0), "db.m", existing=existing, replace=True)


def test_a_plan_is_a_picture_that_escapes() -> None:
    """Text and HTML name every column, its types and nulls; odd labels do no harm."""
    frame = FRAME.rename(columns={"s": "<script>s</script>"})
    planned = checked(frame, schema={"a": "INT32"})
    text, page = repr(planned), planned._repr_html_()
    for word in ("int64", "INT32", "float64", "DOUBLE", "STRING", "root.a.d"):
        assert word in text
        assert word in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_plan_of_ten_thousand_columns_stays_small() -> None:
    """What a plan shows is capped, whatever the frame."""
    wide = pd.DataFrame(np.ones((2, 10_000)), index=days(2)).rename(columns="c{}".format)
    planned = checked(wide.astype({"c0": object}))
    assert len(repr(planned)) < 10_000
    assert len(planned._repr_html_()) < 50_000


def test_a_plan_never_disagrees_with_its_requests() -> None:
    """Whatever passes a plan is encoded without another look: the same rules make both."""
    random = np.random.default_rng(7)
    for kind, dtype in ((T.INT32, "i8"), (T.FLOAT, "f8"), (T.DOUBLE, "i8"), (T.INT64, "u8")):
        values = random.integers(0, 2**63, 200, dtype="u8") >> random.integers(0, 63, 200).astype(
            "u8"
        )
        frame = pd.DataFrame({"v": values.astype(dtype)}, index=days(200))
        planned = plan_of(frame, schema={"v": kind}, on_error="collect", dead_letter="x")
        planned.check()
        found = {k[1] // 86_400_000: v["v"] for k, v in stored(requests_of(planned)).items()}
        refused = {row for p in planned.problems for row in p.rows.tolist()}  # type: ignore[union-attr]
        assert set(found) | refused == set(range(200))
        assert not set(found) & refused
        assert all(frame["v"].iloc[row].item() == value for row, value in found.items())


def test_width_of_texts_and_bytes_is_known() -> None:
    """Encoded bytes of a row: of texts the average, of bytes of one width theirs."""
    times = pa.array([0, 1, 2], pa.timestamp("ms"))
    texts = pa.array(["ab", None, "cdef"])
    for column, width in (
        (texts, 8 + 4 + 2),
        (texts.cast(pa.large_string())[1:], 8 + 4 + 2),
        (texts.dictionary_encode(), 8 + 4 + 3),
        (pa.array([b"abcd", None, b"efgh"], pa.binary(4)), 8 + 4 + 4),
        (pa.array([], pa.string()), 8 + 4),
    ):
        data = pa.table({"time": times[: len(column)], "b": column})
        assert plan_of(data).row_bytes == width
