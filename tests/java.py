"""The Java that Spark starts for a process."""

from __future__ import annotations

import sys


def end_java() -> None:
    """End the Spark session of this process, and its Java.

    Java outlives a session, and keeps for the next one the environment that it was started with.
    """
    if "pyspark" not in sys.modules:
        return
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    if gateway is None:
        return
    if SparkContext._active_spark_context is not None:
        SparkContext._active_spark_context.stop()
    SparkContext._gateway = SparkContext._jvm = None
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=60)
