"""The one check of Airflow's version, made before anything of Airflow is imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

REQUIRED = (3, 3)


def require_airflow(found: str | None = None) -> None:
    """Fail with one clear line on an Airflow without ``task_state_store``.

    :raises ImportError: Airflow is older than 3.3, or missing
    """
    if found is None:
        try:
            found = version("apache-airflow-core")
        except PackageNotFoundError:
            found = "none"
    release = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if release < REQUIRED:
        raise ImportError(
            f"durablejob needs Apache Airflow 3.3 or newer (found {found}): its operators keep the identity of a "
            "task's run in task_state_store, which older versions do not have."
        )
