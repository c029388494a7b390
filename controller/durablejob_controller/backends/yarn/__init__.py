"""YARN: an application id is reserved, recorded, and then submitted under, through the ResourceManager's REST API.

Follow one submission: ``validation`` says whether the work may run here; ``reserve`` (in ``backend``) takes an id and
writes all that the application localizes into the staging area (``staging``, over ``webhdfs``), ``spark`` or
``generic`` build the ``launch`` that is kept there; ``submit`` sends exactly that, over the connection on which the
active ResourceManager has just been met (``managers``); ``reading`` says what its answers mean. ``auth`` dresses each
request but those to DataNodes: where a NameNode sends us for a file's content, its address says who we are.
"""

from __future__ import annotations

from durablejob_api.backend import JobBackendSpec
from durablejob_api.spec import BackendType
from durablejob_controller.backends.contract import Backend
from durablejob_controller.backends.surroundings import Surroundings
from durablejob_controller.backends.yarn.backend import Yarn


class YarnPlugin:
    """Makes backends of type Yarn."""

    type = BackendType.YARN

    def make(self, spec: JobBackendSpec, surroundings: Surroundings) -> Backend:
        return Yarn(spec, surroundings)

    def artifact(self, name: str, key: str, claim: int) -> bytes | None:
        """None: what drivers need lies in the staging area."""
        return None


plugin = YarnPlugin()
