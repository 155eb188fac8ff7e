"""Kill a worker, and fail a batch, again and again, and count the rows that are missing.

    python tests/engines/flink_faults.py [20]

Wants Flink's environment. Each job is a source with a thread of its own, of 20,000 rows in seven
seconds, with five checkpoints in each; it fails five times, before batches whose numbers are drawn.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
N_ROWS = 20_000
N_FAILURES = 5


def main(n_times: int) -> int:
    """Fail so often in each way; how many rows are missing, or told wrongly."""
    path = os.pathsep.join([str(HERE), *sys.path])
    os.environ |= {"_python_worker_execution_mode": "process", "PYTHONPATH": path}
    from failing_flink import counted, failing, make_environment, missing_rows, n_failures

    import iotdb_frames as iotf
    from iotdb_frames.engines.flink import IoTDBSink

    draws = random.Random(0)
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory, iotf.LocalServer() as server:
        password = iotf.Secret(str(server.options.password), travels=True)
        place = iotf.IoTDBOptions(url=server.url, password=password)
        with iotf.connect(server.url, password=password) as connection:
            for run in range(2 * -(-n_times // N_FAILURES)):
                how = ("kill", "raise")[run % 2]
                at = sorted(draws.sample(range(2, 36), N_FAILURES))
                device, log = f"root.faults.d{run}", Path(directory) / f"log{run}"
                _, t_env = make_environment(Path(directory) / f"run{run}")
                began = time.perf_counter()
                with failing(log, how, at):
                    sink = IoTDBSink(place, target=device, batch_size=500, flush_interval_s=0.1)
                    report = sink.run(counted(t_env, N_ROWS), t_env)
                n_missing = missing_rows(device, connection, N_ROWS)
                found[f"{how}: times"] += n_failures(log)
                found[f"{how}: rows missing"] += n_missing
                found[f"{how}: rows told wrongly"] += abs(report.rows_written - N_ROWS)
                print(
                    f"{run + 1:3} {how:5} before batches {at}: {n_missing} of {N_ROWS} rows "
                    f"missing, {report.rows_written} told, {time.perf_counter() - began:.0f} s",
                    flush=True,
                )
    print(*(f"{what}: {n}" for what, n in sorted(found.items())), sep="\n")
    return sum(n for what, n in found.items() if "rows" in what)


if __name__ == "__main__":
    sys.exit(bool(main(int((sys.argv[1:] or ["20"])[0]))))
