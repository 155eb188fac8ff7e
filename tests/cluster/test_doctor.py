"""What is said of a cluster, and what is not done while it is not whole."""

from __future__ import annotations

import os
import re
from collections import Counter

import pandas as pd
import pytest
from typer.testing import CliRunner

import iotdb_frames as iotf
from clock import wait_until
from iotdb_frames.cli import app
from iotdb_frames.errors import ServerError
from nodes import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def doctor(url: str) -> list[str]:
    """The lines that `doctor` says of a cluster."""
    result = CliRunner().invoke(app, ["doctor", "--url", url], env={"IOTDB_PASSWORD": "root"})
    return result.output.splitlines()


def line_of(lines: list[str], *words: str) -> str:
    """The one line that has all of some words."""
    found = [line for line in lines if all(word in line for word in words)]
    assert len(found) == 1, "\n".join(lines)
    return found[0]


def test_doctor_looks_at_each_node(cluster: Cluster, database: str) -> None:
    """Each host that is named has a line that says its version and what it leads; one that is not
    named is told, and after the loss of one who is away and what lacks it."""
    frame = pd.DataFrame({"a": [1.0]}, index=pd.to_datetime([1], unit="s"))
    with cluster.connection() as connection:
        frame.iotdb.write(f"root.{database}.d", connection=connection)
        cards = connection._repr_html_()
        shown = iotf.show("cluster", connection=connection)
        regions = iotf.show("regions", connection=connection)
        in_tables = iotf.show("regions", model="table", connection=connection)
    assert all(f"127.0.0.1:{cluster.port(name)}" in cards for name in cluster.data_nodes)
    assert shown["NodeType"].tolist().count("DataNode") == 3
    assert f"root.{database}" in set(regions["Database"])
    assert "Role" in in_tables
    lines = doctor(cluster.options().url)
    for name in cluster.data_nodes:
        assert "IoTDB 2" in line_of(lines, f"✓ 127.0.0.1:{cluster.port(name)} ", "login", "leads")
    assert not any("not in the URL" in line for line in lines)
    lines = doctor(cluster.options(["dn1", "dn2"]).url)
    line_of(lines, f"127.0.0.1:{cluster.port('dn3')} is not in the URL")
    cluster.kill("dn3")
    cluster.wait_until_noticed("dn3")
    lines = doctor(cluster.options().url)
    line_of(lines, f"✗ 127.0.0.1:{cluster.port('dn3')}", "nothing is listening")
    line_of(lines, f"127.0.0.1:{cluster.port('dn3')} is Unknown")
    assert any(f"lacks its replica on 127.0.0.1:{cluster.port('dn3')}" in line for line in lines)


@pytest.mark.on_clusters("3/3", "2/1")
def test_doctor_says_who_leads_how_much(cluster: Cluster, database: str) -> None:
    """The data regions that hosts are said to lead are those that there are, each once."""
    frame = pd.DataFrame({"device": [f"d{i}" for i in range(99)], "a": 1.0})
    frame.index = pd.to_datetime(range(99), unit="s")
    with cluster.connection() as connection:
        frame.iotdb.write(f"root.{database}", device="device", connection=connection)
    wanted = Counter(cluster.leaders(f"root.{database}").values())
    lines = doctor(cluster.options().url)
    for name in cluster.data_nodes:
        line = line_of(lines, f"✓ 127.0.0.1:{cluster.port(name)} ", "leads")
        found = re.search(r"leads (\d+) data and \d+ schema regions", line)
        assert found is not None
        assert int(found[1]) == wanted[name]
    assert len(wanted) == len(cluster.data_nodes)


@pytest.mark.on_clusters("2/1")
def test_doctor_warns_of_how_a_cluster_is_set_up(cluster: Cluster, database: str) -> None:
    """A data replication factor of 1 and reads from any replica have a line each, and where a node
    is away there are the regions that only it has."""
    frame = pd.DataFrame({"device": [f"d{i}" for i in range(99)], "a": 1.0})
    frame.index = pd.to_datetime(range(99), unit="s")
    with cluster.connection() as connection:
        frame.iotdb.write(f"root.{database}", device="device", connection=connection)
    lines = doctor(cluster.options().url)
    line_of(lines, "replication factor 1 of DataRegions", "lost with it")
    line_of(lines, "reads", "from any replica")
    cluster.kill("dn2")
    cluster.wait_until_noticed("dn2")
    lines = doctor(cluster.options().url)
    assert any(
        f"DataRegion of root.{database} " in line and ("has no leader" in line or "lacks" in line)
        for line in lines
    ), lines


@pytest.mark.on_clusters("unnamed")
def test_nodes_without_a_name_are_told_apart(cluster: Cluster, database: str) -> None:
    """Nodes that all call themselves 0.0.0.0 get rows, `replace=True` waits for each of them, and
    `doctor` says how to name them."""
    frame = pd.DataFrame({"device": [f"d{i}" for i in range(99)], "a": 1.0})
    frame.index = pd.to_datetime(range(99), unit="s")
    with cluster.connection() as connection:
        for _ in range(2):
            report = frame.iotdb.write(f"root.{database}", device="device", connection=connection)
            assert report.rows_written == 99
        lines = doctor(cluster.options().url)
        for name in cluster.data_nodes:
            line_of(lines, f"it calls itself 0.0.0.0:{cluster.port(name)}, so that rows are not")
        cluster.kill("dn3")
        cluster.wait_until_noticed("dn3")
        quick = iotf.RetryPolicy(total_s=3)
        options = {"device": "device", "replace": True, "retry": quick}
        with pytest.raises(ServerError, match=r"lacks its replica on 0\.0\.0\.0"):
            frame.iotdb.write(f"root.{database}", connection=connection, **options)


def test_doctor_without_its_confignode(cluster: Cluster, database: str) -> None:
    """Where nobody can say how the cluster is, that is a line, and each host still has its own."""
    cluster.kill("cn1")
    lines = doctor(cluster.options().url)
    line_of(lines, "✗ cluster ")
    for name in cluster.data_nodes:
        line_of(lines, f"127.0.0.1:{cluster.port(name)} ")


@pytest.mark.slow
def test_doctor_tells_a_region_with_too_few_replicas(cluster: Cluster, database: str) -> None:
    """A region from which a replica was removed is told with a remedy; carried out, it is gone."""
    frame = pd.DataFrame({"a": [1.0]}, index=pd.to_datetime([1], unit="s"))
    with cluster.connection() as connection:
        frame.iotdb.write(f"root.{database}.d", connection=connection)
    regions = cluster.ask(f"SHOW REGIONS OF DATABASE root.{database}")
    at = next(r for r in regions if r["Type"] == "DataRegion" and r["Role"] == "Follower")

    def missing() -> list[str]:
        lines = doctor(cluster.options().url)
        return [x for x in lines if "has 2 of 3 replicas" in x and f"region {at['RegionId']} " in x]

    cluster.tell(f"REMOVE REGION {at['RegionId']} FROM {at['DataNodeId']}")
    wait_until(missing)
    cluster.tell(f"EXTEND REGION {at['RegionId']} TO {at['DataNodeId']}")
    wait_until(lambda: not missing())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_node_is_replaced(cluster: Cluster, database: str) -> None:
    """A node that lost its disk is replaced by an empty one: rows are there through the new one,
    also for who names the old one, and `doctor` says that it is not named."""
    target = f"root.{database}.d"
    frame = pd.DataFrame({"a": [float(i) for i in range(50)]})
    frame.index = pd.date_range("2026", periods=50, freq="1s")
    with cluster.connection() as connection:
        url = cluster.options().url
        frame.iotdb.write(target, connection=connection)
        cluster.replace("dn2")
        frame.iotdb.write(target, connection=connection)
    with cluster.connection(["dn2"]) as connection:
        assert iotf.read(target, connection=connection)["a"].tolist() == frame["a"].tolist()
    line_of(doctor(url), f"127.0.0.1:{cluster.port('dn2')} is not in the URL")


def test_nothing_is_deleted_while_a_replica_is_away(cluster: Cluster, database: str) -> None:
    """`replace=True` waits for all replicas, refuses when its time is over, and leaves what was
    there; when they are back it replaces."""
    target = f"root.{database}.d"
    old = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.to_datetime([1, 2], unit="s"))
    new = pd.DataFrame({"a": [5.0, None]}, index=pd.to_datetime([1, 2], unit="s"))
    quick = iotf.RetryPolicy(total_s=3)
    with cluster.connection() as connection:
        old.iotdb.write(target, connection=connection)
        cluster.kill("dn2")
        cluster.wait_until_noticed("dn2")
        with pytest.raises(ServerError, match=r"lacks its replica on .* so that a read may") as err:
            new.iotdb.write(target, replace=True, retry=quick, connection=connection)
        assert "show" in (err.value.hint or "")
        cluster.start("dn2")  # which may have been the only one that had these rows
        wait_until(lambda: iotf.read(target, connection=connection)["a"].tolist() == [1, 2])
        new.iotdb.write(target, replace=True, connection=connection)
        assert iotf.read(target, connection=connection)["a"].tolist() == [5]


def test_without_the_right_to_look_there_is_a_note(cluster: Cluster, database: str) -> None:
    """A user who may not see regions replaces all the same, and the report says what was not
    looked at."""
    user, password = f"u_{os.getpid()}", "Secret_123456"
    frame = pd.DataFrame({"a": [1.0]}, index=pd.to_datetime([1], unit="s"))
    with cluster.connection() as root:
        for sql in (
            f"CREATE USER {user} '{password}'",
            f"GRANT READ_DATA, WRITE_DATA, READ_SCHEMA, WRITE_SCHEMA ON root.** TO USER {user}",
        ):
            root.run(lambda session, sql=sql: session.execute(sql), model="tree")  # type: ignore[misc]
    with cluster.connection(user=user, password=password) as connection:
        report = frame.iotdb.write(f"root.{database}.d", replace=True, connection=connection)
    assert report.rows_written == 1
    assert any("replicas run was not checked" in note for note in report.notes), report.notes
