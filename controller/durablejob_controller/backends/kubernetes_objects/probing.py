"""What the cluster is, before the first job: reachable, new enough, with the rights and the policy that are needed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from durablejob_api.backend import Guarantee
from durablejob_controller.backends.contract import Probe
from durablejob_controller.backends.kubernetes_objects.calls import Calls
from durablejob_controller.backends.kubernetes_objects.kind import Right
from durablejob_controller.errors import BackendUnavailable, CredentialsRefused, KubernetesError, NotFound

OLDEST = (1, 32)
"""The first version that durablejob supports; podReplacementPolicy, on which this backend relies, is older."""
LOG_RIGHT = ("", "pods/log", "get")
"""Needed where the ends of logs are told."""
_POLICIES = "/apis/admissionregistration.k8s.io/v1"
_UNASKED = (
    " This controller was told of no admission policy (--admission-policy): whoever may create DurableJobs here may "
    "have any Job or driver's pod made, without a right of his own to make one."
)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def probe(
    calls: Calls, namespace: str | None, incarnation: str, policy: str, rights: Sequence[Right],
    assumptions: Sequence[str],
) -> Probe:  # fmt: skip
    """Ask for the version, for each right and for the admission policy; never raises for what is found there.

    ``assumptions``: under which one object is one start, in words. ``policy``: its name; none: it is not asked for.
    """
    try:
        version = str((await calls.send("GET", "/version"))["gitVersion"])
        # One after the other: a hundred backends that are probed at once are load enough for the API server.
        lacking = [right for each in rights if (right := await _lacks(calls, namespace, *each))]
        guarded = bool(lacking) or not policy or await _in_force(calls, policy)  # lacking rights come first
    except CredentialsRefused as error:
        return _not_ready("CredentialsRefused", str(error))
    except BackendUnavailable as error:
        return _not_ready("ApiServerUnreachable", str(error))
    except (KubernetesError, KeyError, TypeError) as error:
        return _not_ready("NotAnApiServer", f"its answers are not those of an API server ({type(error).__name__})")
    where = f"in namespace {namespace}" if namespace is not None else "in all namespaces"
    if lacking:
        what = ", ".join(lacking)
        needed = f"the controller's account lacks these rights {where}: {what}; bind it to a role that has them"
        return _not_ready("MissingRights", needed, version)
    if not guarded:
        return _not_ready(
            "AdmissionPolicyMissing",
            f"the ValidatingAdmissionPolicy {policy} is not there, or no binding {policy} has it deny: without it "
            "whoever may create DurableJobs could have any Job or driver's pod made; install it again (helm upgrade), "
            "or set admissionPolicy.enabled=false to do without",
            version,
        )
    found = re.match(r"v(\d+)\.(\d+)", version)
    if found is not None and (int(found[1]), int(found[2])) < OLDEST:
        return _not_ready("TooOld", f"Kubernetes {version}; durablejob needs 1.{OLDEST[1]} or newer", version)
    return Probe(
        ready=True,
        reason="Ready",
        message=(
            f"Kubernetes {version}, {where}. One object is activated once, by its uid. It is assumed that "
            f"{'; that '.join(assumptions)}.{'' if policy else _UNASKED}"
        ),
        guarantee=Guarantee.CONDITIONAL,
        version=version,
        incarnation=incarnation,
    )


async def _lacks(calls: Calls, namespace: str | None, group: str, resource: str, verb: str) -> str | None:
    """The right, if it is lacking, as RBAC spells it."""
    kind, _, part = resource.partition("/")
    attributes = {"group": group, "resource": kind, "subresource": part, "verb": verb}
    if namespace is not None:
        attributes["namespace"] = namespace
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await calls.send("POST", _REVIEWS, body=review)
    if answer["status"]["allowed"] is True:
        return None
    return f"{verb} {resource}{'.' if group else ''}{group}"


async def _in_force(calls: Calls, name: str) -> bool:
    """Whether the policy is there, and a binding of its name has it deny."""
    try:
        await calls.send("GET", f"{_POLICIES}/validatingadmissionpolicies/{name}")
        binding = await calls.send("GET", f"{_POLICIES}/validatingadmissionpolicybindings/{name}")
    except NotFound:
        return False
    return bool(binding["spec"]["policyName"] == name and "Deny" in binding["spec"]["validationActions"])


def _not_ready(reason: str, message: str, version: str = "") -> Probe:
    return Probe(ready=False, reason=reason, message=message, guarantee=Guarantee.NONE, version=version)
