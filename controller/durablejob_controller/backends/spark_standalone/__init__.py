"""Spark standalone clusters, guarded by the start gate.

Follow one submission: ``validation`` says whether the work may run here, ``submission`` builds the
body, ``masters`` finds the active Master and sends it, the worker fetches the JAR that ``stub`` made,
the gate in it (controller/gate) asks for the claim, and ``listing`` reads what became of the driver.
``backend`` ties them together as the contract wants it.
"""

from __future__ import annotations

from durablejob_api.backend import JobBackendSpec
from durablejob_api.spec import BackendType
from durablejob_controller.backends.contract import Backend
from durablejob_controller.backends.spark_standalone.backend import SparkStandalone
from durablejob_controller.backends.spark_standalone.stub import jar
from durablejob_controller.backends.spark_standalone.submission import CLAIM_JAR
from durablejob_controller.backends.surroundings import Surroundings


class SparkStandalonePlugin:
    """Makes backends of type SparkStandalone."""

    type = BackendType.SPARK_STANDALONE

    def make(self, spec: JobBackendSpec, surroundings: Surroundings) -> Backend:
        return SparkStandalone(spec, surroundings)

    def artifact(self, name: str, key: str, claim: int) -> bytes | None:
        """The claim's JAR, which a worker fetches before it starts the driver."""
        return jar(key, claim) if name == CLAIM_JAR else None


plugin = SparkStandalonePlugin()
