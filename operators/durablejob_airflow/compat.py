"""The one check of Airflow's version, made before anything of Airflow is imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

REQUIRED = (3, 3)


def require_airflow(found: str | None = None) -> None:
    """Fail with one clear line on an Airflow without ``task_state_store``.

    :raises ImportError: Airflow is older than 3.3, or missing
    """
    if found is None:
        found = _installed("apache-airflow-core") or _installed("apache-airflow") or "none"
    release = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if release < REQUIRED:
        raise ImportError(
            f"durablejob needs Apache Airflow 3.3 or newer (found {found}): its operators keep the identity of a "
            "task's run in task_state_store, which older versions do not have."
        )


def _installed(distribution: str) -> str | None:
    """Its version; Airflow 2 has no apache-airflow-core."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
