"""A Spark session for the tests of this folder, and where they write to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import iotdb_frames as iotf
from iotdb_frames.server import LocalServer
from java import end_java


@pytest.fixture(scope="session")
def event_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Spark keeps what its web interface shows."""
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="session")
def spark(event_log: Path) -> Iterator[Any]:
    """Two threads; a task may fail three times."""
    from failing import FailingSource
    from pyspark.sql import SparkSession

    from iotdb_frames.engines.spark import IoTDBDataSource

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        settings = {
            "spark.ui.enabled": "false",
            "spark.driver.memory": "700m",
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": event_log.as_uri(),
            "spark.eventLog.compress": "false",
            "spark.eventLog.rolling.enabled": "false",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "2",
            "spark.ui.showConsoleProgress": "false",
            "spark.python.daemon.module": "preloaded",
        }
        builder = SparkSession.builder.master("local[2,4]")
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        for source in (IoTDBDataSource, FailingSource):
            session.dataSource.register(source)
        yield session
        end_java()


@pytest.fixture(scope="session")
def place(server: LocalServer) -> dict[str, str]:
    """The options that say where to."""
    return {"url": server.url, "password": str(server.options.password)}


@pytest.fixture(scope="session")
def there(server: LocalServer) -> iotf.Endpoint:
    """The same, for calls that take a connection; its password may travel."""
    password = iotf.Secret(str(server.options.password), travels=True)
    return iotf.Endpoint.of(iotf.connect(server.url, password=password), travels=True)
