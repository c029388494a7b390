"""An Airflow home of our own before Airflow is imported, and a namespace on the real API server."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Importing Airflow writes its configuration into AIRFLOW_HOME: not into the home of who runs the tests.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="durablejob-airflow-home-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "False")

from tests.operators.scripted import Controller
from tests.testbed.kube import Cluster

CONN_ID = "durablejob_test"


def connection(kubeconfig: Path, namespace: str, **extra: str) -> str:
    """A connection of our type, as AIRFLOW_CONN_* holds it."""
    fields = {"deployment_id": "tests", "namespace": namespace, "kube_config_path": str(kubeconfig)}
    return json.dumps({"conn_type": "durablejob", "extra": fields | extra})


@pytest.fixture(scope="package")
def namespace(crds: Cluster) -> Iterator[str]:
    """A namespace of our own."""
    name = f"durablejob-airflow-{secrets.token_hex(3)}"
    crds.kubectl("create", "namespace", name)
    yield name
    crds.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="package")
def controller(crds: Cluster, namespace: str) -> Iterator[Controller]:
    """Who writes the statuses here."""
    with Controller(crds.kubeconfig, namespace) as running:
        yield running


@pytest.fixture
def conn_id(crds: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Id of a connection to that namespace."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", connection(crds.kubeconfig, namespace))
    return CONN_ID
