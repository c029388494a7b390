"""A real Airflow for tests: `with airflow.running(dags_folder, cluster) as af: ...`.

Four processes and about 1 GB: start it once in a test session. See service.py (processes) and rest.py (API)
for what `af` can do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.testbed import postgres
from tests.testbed import site as sites
from tests.testbed.airflow.rest import ApiError
from tests.testbed.airflow.service import Airflow, Options
from tests.testbed.kube.cluster import Cluster

__all__ = ["Airflow", "ApiError", "bring_up", "running"]


@contextmanager
def running(
    dags_folder: Path,
    cluster: Cluster | None = None,
    extra_env: Mapping[str, str] | None = None,
    database: str | None = None,
) -> Iterator[Airflow]:
    """Give a running Airflow that reads DAGs from this folder, and end it with its tasks afterwards.

    Its processes see `cluster` through KUBECONFIG; `extra_env` may hold AIRFLOW_CONN_* and AIRFLOW__*
    settings, and wins over ours; `database` is an SQLAlchemy URL, or "postgres" for a server of its own; sqlite by
    default.

    Raises:
        TestbedError: it did not come up; with the end of the log that says why.

    """
    with sites.temporary("airflow") as site:
        env = {**(cluster.env() if cluster else {}), **(extra_env or {})}
        url = postgres.start(site) if database == "postgres" else database
        yield bring_up(site, Options(dags_folder, env, url))


def bring_up(site: sites.Site, options: Options) -> Airflow:
    """Bring Airflow up in this site."""
    airflow = Airflow(site, options)
    airflow.start_all()
    return airflow
