"""Without its packages an engine says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        ("import iotdb_frames.engines.dask", "dask"),
        ("iotf.read_dask('root.a')", "dask"),
        ("import iotdb_frames.engines.spark", "spark"),
        ("import iotdb_frames.engines.flink", "flink"),
        ("import iotdb_frames.engines.flink_source", "flink"),
    ],
)
def test_a_missing_extra_is_named(call: str, extra: str) -> None:
    """An engine that is not installed raises an error with its pip command."""
    code = f"""
import sys
sys.modules["dask"] = sys.modules["pyspark"] = sys.modules["pyflink"] = None
import iotdb_frames as iotf
try:
    {call}
except iotf.MissingExtraError as exc:
    print(exc.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == f'pip install "iotdb-frames[{extra}]"'


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("__dask_graph__", r"engines\.dask, ddf\.iotdb\.write"),
        ("execute_insert", r"engines\.flink\.IoTDBSink"),
    ],
)
def test_a_frame_of_an_engine_names_the_way(attribute: str, said: str) -> None:
    """`iotf.write` of a frame of another library's says which call writes it."""
    import iotdb_frames as iotf

    elsewhere = type("DataFrame", (), {attribute: None})()
    with pytest.raises(iotf.OptionsError, match=said):
        iotf.plan(elsewhere, "root.a.b", offline=True)
