"""Brings up the real systems, for tests and for the demo, on a machine without Docker or root.

    python -m tests.testbed --help

    from tests.testbed import kube, spark, airflow
    with kube.running() as cluster, spark.running() as sp: ...

Whatever is started ends with the process that started it, even when that is killed with SIGKILL
(guardian.py); what `up` leaves running ends with `down`. Slow things are made once (cache.py).
"""

from tests.testbed.errors import TestbedError

__all__ = ["TestbedError"]
