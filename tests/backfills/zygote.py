"""Forks a process for each backfill it is asked for, so that killing one costs no imports.

It is told, a line of JSON each, what to call `backfill` with; it answers with the process id, and
with the exit code when that process has ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

import iotdb_frames as iotf
from iotdb_frames.backfills import job


def work(order: dict[str, Any]) -> int:
    """One backfill; 0 where it came to its end."""
    with iotf.connect(order["url"], password=order["password"]) as connection:
        if order.get("limit_bytes"):
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit_bytes"],) * 2)
        try:
            job.backfill(
                order["sources"], order["target"], connection=connection, **order["options"]
            )
        except iotf.IoTDBFramesError as exc:
            print(json.dumps({"error": str(exc)}), flush=True)
            return 3
    return 0


def main() -> None:
    """Until the end of the input."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = work(order)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(json.dumps({"pid": pid}), flush=True)
        print(json.dumps({"ended": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}), flush=True)


if __name__ == "__main__":
    main()
