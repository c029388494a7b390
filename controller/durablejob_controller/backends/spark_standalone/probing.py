"""What a cluster is, before the first job: reachable, active, with which memory of its own."""

from __future__ import annotations

from durablejob_api.backend import Guarantee
from durablejob_controller.backends.contract import Probe
from durablejob_controller.backends.http import Doubtful, Malformed
from durablejob_controller.backends.spark_standalone.listing import Listing
from durablejob_controller.backends.spark_standalone.masters import Masters
from durablejob_controller.errors import BackendUnavailable, CredentialsRefused

_NOBODY = "durablejob-probe"
"""A driver id that is none: asking for it has no effect in any version."""


async def probe(masters: Masters, gate_url: str) -> Probe:
    """Ask the active Master's UI and REST server, and the others' UIs; never raises for what is found there."""
    try:
        listing = await masters.listing()
    except CredentialsRefused as error:
        return _not_ready("CredentialsRefused", f"{error} (web UI)")
    except Malformed as error:
        return _not_ready("NotAMaster", f"{error}; sparkStandalone.masters[].ui is the web UI, by default port 8080")
    except BackendUnavailable as error:
        return _not_ready("MasterUnreachable", str(error))
    try:
        await masters.status(_NOBODY)
    except CredentialsRefused as error:
        return _not_ready(
            "CredentialsRefused", f"{error}; the token is read from sparkStandalone.tokenSecretRef", listing
        )
    except Malformed as error:
        return _not_ready("NotAMaster", f"{error}; sparkStandalone.masters[].rest is by default port 6066", listing)
    except Doubtful as error:
        return _not_ready("MasterUnreachable", str(error), listing)
    except BackendUnavailable as error:
        hint = "spark.master.rest.enabled must be true (the default since Spark 4), port 6066"
        return _not_ready("RestDisabled", f"{error}; {hint}", listing)
    settings = await _settings(masters)
    mode = None if settings is None else settings.get("spark.deploy.recoveryMode", "NONE").upper()
    return Probe(
        ready=True,
        reason="Ready",
        message=_message(listing, await masters.others(), masters.version, mode, gate_url),
        guarantee=Guarantee.EXACT,
        version=masters.version,
        incarnation=listing.life,
    )


async def _settings(masters: Masters) -> dict[str, str] | None:
    try:
        return await masters.environment()
    except BackendUnavailable:
        return None


def _message(listing: Listing, others: list[str], version: str, mode: str | None, gate_url: str) -> str:
    alive = [worker for worker in listing.workers if worker.state == "ALIVE"]
    cores, memory = sum(worker.cores for worker in alive), sum(worker.memory for worker in alive)
    memory_words = {
        None: "Whether it keeps running drivers over its own restart cannot be read.",
        "NONE": "It forgets its drivers when it restarts (spark.deploy.recoveryMode is NONE): running ones end then.",
    }.get(mode, f"It keeps running drivers over its own restart (recoveryMode {mode}).")
    standby = f" (others: {'; '.join(others)})" if others else ""
    return (
        f"Spark {version}, active Master {listing.url}{standby}; {len(alive)} workers with {cores} cores and "
        f"{memory} MiB. Started once by the start gate, on the assumption that every worker and driver reaches "
        f"{gate_url}. {memory_words}"
    )


def _not_ready(reason: str, message: str, listing: Listing | None = None) -> Probe:
    return Probe(
        ready=False,
        reason=reason,
        message=message,
        guarantee=Guarantee.NONE,
        incarnation=listing.life if listing else "",
    )
