"""What a cluster is, before the first job: reachable, active, with which memory, and what that lets us promise."""

from __future__ import annotations

from durablejob_api.backend import Guarantee
from durablejob_controller.backends.contract import Probe
from durablejob_controller.backends.http import Malformed
from durablejob_controller.backends.yarn.managers import Conversation, Info, Managers
from durablejob_controller.backends.yarn.staging import Staging
from durablejob_controller.errors import BackendUnavailable, CredentialsRefused

RETENTION = "yarn.resourcemanager.max-completed-applications"
STORED = "yarn.resourcemanager.state-store.max-completed-applications"
"""Of those it remembers so many over its own restart."""


async def probe(managers: Managers, staging: Staging, gate_url: str | None) -> Probe:
    """Ask the ResourceManagers and HDFS; never raises for what is found there."""
    try:
        async with managers.talk() as manager:
            info, retention = manager.info, [await _number(manager, name) for name in (RETENTION, STORED)]
    except BackendUnavailable as error:
        return _not_ready(_reason(error, "NotAResourceManager", "ResourceManagerUnreachable"), str(error))
    if managers.several and not info.remembers and gate_url is None:
        words = (
            "several ResourceManagers, and recovery is off: one that was standby for a while does not know what it had "
            "started before, and cannot tell; switch recovery on, or use fence.mode Gate (Spark only)"
        )
        return _not_ready("RecoveryIsOff", words, info)
    try:
        folder = await staging.prepare()
    except BackendUnavailable as error:
        return _not_ready(_reason(error, "NotWebHdfs", "HdfsUnavailable"), str(error), info)
    if folder.permission & 0o022:
        who = "its group" if folder.permission & 0o020 else "everybody"
        words = f"{who} may write to yarn.staging.dir, and so break the fence of each job: chmod it to 700"
        return _not_ready("StagingNotSafe", words, info)
    guarantee, promise = _promise(info, retention, gate_url)
    standby = "; ".join(await managers.others())
    return Probe(
        ready=True,
        reason="Ready",
        message=f"YARN {info.version}, active at {manager.url}{f' ({standby})' if standby else ''}. {promise}",
        guarantee=guarantee,
        version=info.version,
        incarnation=info.life,
    )


async def _number(manager: Conversation, name: str) -> str:
    return await manager.setting(name) or "a number that it does not tell"


def _promise(info: Info, retention: list[str], gate_url: str | None) -> tuple[Guarantee, str]:
    recovery = (
        "Recovery is on: it keeps its applications over its own restart."
        if info.remembers
        else "Recovery is off: with each restart of the ResourceManager all applications end, and are forgotten."
    )
    if gate_url is not None:
        assumed = f"Started once by the start gate, on the assumption that every driver reaches {gate_url}."
        return Guarantee.EXACT, f"{assumed} {recovery}"
    trust = "Whoever may write to the staging folder as the YARN user can remove or copy a job's fence."
    if not info.remembers:
        lost = "A late submission may start a job again: switch recovery on, or use fence.mode Gate (Spark only)."
        return Guarantee.NONE, f"{recovery} {lost}"
    kept = (
        "Started once by the staging fence, on the assumption that no application of ours is evicted before it was "
        f"seen; the ResourceManager remembers {retention[0]} ended applications ({RETENTION}), over its own restart "
        f"{retention[1]} ({STORED})."
    )
    return Guarantee.CONDITIONAL, f"{kept} {trust} {recovery}"


def _reason(error: BackendUnavailable, malformed: str, otherwise: str) -> str:
    if isinstance(error, CredentialsRefused):
        return "CredentialsRefused"
    return malformed if isinstance(error, Malformed) else otherwise


def _not_ready(reason: str, message: str, info: Info | None = None) -> Probe:
    return Probe(
        ready=False,
        reason=reason,
        message=message,
        guarantee=Guarantee.NONE,
        version=info.version if info else "",
        incarnation=info.life if info else "",
    )
