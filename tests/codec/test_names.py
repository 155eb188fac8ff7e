"""Targets and paths: what a text names, in either model."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.codec.names import join_path, normal_path, parse_target, split_path, split_prefix
from iotdb_frames.errors import OptionsError

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("root.plant.press1", "root.plant.press1"),
        (" root.a ", "root.a"),
        ("root.1a.b-c", "root.`1a`.`b-c`"),
        ("root.a b.µg/m³", "root.`a b`.`µg/m³`"),
        ("root.`a.b`.c", "root.`a.b`.c"),
        ("root.`a``b`", "root.`a``b`"),
        ("root.`plain`", "root.plain"),
        ("root.测试", "root.`测试`"),
    ],
)
def test_tree_targets_are_quoted_where_they_must_be(text: str, path: str) -> None:
    """A path keeps its nodes; odd ones get back-quotes."""
    target = parse_target(text)
    assert (target.model, target.path, target.sql) == ("tree", path, path)


@pytest.mark.parametrize(
    ("text", "database", "names"),
    [
        ("plant.press", None, ("plant", "press")),
        ("Plant.Press", None, ("plant", "press")),
        ("press", "Plant", ("plant", "press")),
        ("other.press", "plant", ("other", "press")),
        ('"my.db"."a ""b"""', None, ("my.db", 'a "b"')),
        ("rooted.t", None, ("rooted", "t")),
    ],
)
def test_table_targets(text: str, database: str | None, names: tuple[str, str]) -> None:
    """database.table, or a table in the connection's database; lower-case."""
    target = parse_target(text, database=database)
    assert (target.model, target.database, target.table) == ("table", *names)


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "t", "a.b.c", "a.", ".a", "a..b", '"a.b', None, 5),
        *("root.", "root..a", "root.`a", "root.`a`b", "root.`", "root. "),
        *("root.a.**", "root.*.a", "root.`a`.*", "root.**"),
    ],
)
def test_what_names_nothing_is_refused(text: str) -> None:
    """Half a name is an error that shows how to write one."""
    with pytest.raises(OptionsError) as caught:
        parse_target(text)
    assert caught.value.hint
    quoted = "root.a*b.`**`.`a.**.b`"
    assert parse_target(quoted).path == "root.`a*b`.`**`.`a.**.b`"


@given(st.lists(NAMES))
def test_any_nodes_survive_a_path(nodes: list[str]) -> None:
    """What is joined is split again, whatever the nodes are called."""
    path = join_path(["root", *nodes])
    assert split_path(path) == ["root", *nodes]
    with suppress(OptionsError):
        assert normal_path(path) == path
        assert parse_target(path).path == path


@pytest.mark.parametrize("node", ["time", "Time", "TIMESTAMP", "root", "a\tb", "a\nb", "\ud800"])
def test_nodes_the_server_refuses_are_refused_before(node: str) -> None:
    """Names that the server would answer 507 or 509 to never leave."""
    with pytest.raises(OptionsError, match=r"time|root|contains"):
        parse_target(f"root.a.`{node}`")


def test_devices_are_below_their_prefix() -> None:
    """A relative device hangs below the target; an absolute one must be there."""
    assert normal_path("line1.press1", under="root.plant") == "root.plant.line1.press1"
    assert normal_path("root.plant.press1", under="root.plant") == "root.plant.press1"
    assert normal_path("root.x", under="root") == "root.x"
    for other in ("root.plants.press1", "root.other"):
        with pytest.raises(OptionsError, match="not below"):
            normal_path(other, under="root.plant")


@pytest.mark.parametrize(
    ("labels", "prefix", "short"),
    [
        (["time", "root.a.b.x", "root.a.b.y"], "root.a.b", ["time", "x", "y"]),
        (["count(root.a.b.x)", "avg(root.a.c.y)"], "root.a", ["count(b.x)", "avg(c.y)"]),
        (["root.a.`x.y`.t", "root.a.`x.y`.`u.v`"], "root.a.`x.y`", ["t", "`u.v`"]),
        (["root.a.b.x + root.a.b.y", "root.a.b.c.d"], "root.a.b", ["x + y", "c.d"]),
        (["root.机.温.度"], "root.机.温", ["度"]),
        (["root.a.x", "root.b.x"], "", ["root.a.x", "root.b.x"]),
        (["temp", "Device"], "", ["temp", "Device"]),
        ([], "", []),
    ],
)
def test_a_common_prefix_is_said_once(labels: list[str], prefix: str, short: list[str]) -> None:
    """Labels lose the nodes that all their paths begin with, never the last one."""
    assert split_prefix(labels) == (prefix, short)
