"""Spark's daemon of Python workers, which has loaded what they need before it forks them."""

import iotdb_frames.engines.spark  # noqa: F401

if __name__ == "__main__":
    from pyspark.daemon import manager

    manager()
