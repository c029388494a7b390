"""Rights that were given and rights that were used: the audit log names the role by which each call was allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.chart.helm import Object
from tests.testbed.kube import Cluster

ALLOWED_BY = re.compile(r'of (?:Cluster)?Role "([^"]+)" to ServiceAccount')
"""How the RBAC authorizer says that it allowed a call by a role which is bound to the very account."""


class Right(NamedTuple):
    """One verb on one resource, as a role gives it; ``name`` where the role names the object."""

    role: str
    group: str
    resource: str
    verb: str
    name: str = ""


def granted(objects: list[Object], account: str) -> set[Right]:
    """Everything that the roles give which are bound to the account; Roles of several namespaces are the same."""
    bound = {
        found["roleRef"]["name"]
        for found in objects
        if found["kind"] in ("RoleBinding", "ClusterRoleBinding")
        and account in [subject["name"] for subject in found["subjects"]]
    }
    return {
        Right(role["metadata"]["name"], group, resource, verb, name)
        for role in objects
        if role["kind"] in ("Role", "ClusterRole") and role["metadata"]["name"] in bound
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def _log(cluster: Cluster) -> Path:
    path: Path = cluster.audit_log  # type: ignore[attr-defined]  # of a built cluster
    return path


def now(cluster: Cluster) -> int:
    """Where the log ends now."""
    return _log(cluster).stat().st_size


def calls(cluster: Cluster, user: str, since: int) -> Iterator[Object]:
    """The calls of an account, as the API server wrote them down, from a moment on that ``now`` gave."""
    content = _log(cluster).read_bytes()
    for line in content[since : content.rfind(b"\n")].splitlines():  # the last line may not be whole yet
        call = json.loads(line)
        # A watch is complete only when it ends; what was said to it is known when it starts.
        if call["user"]["username"] == user and call["stage"] in ("ResponseStarted", "ResponseComplete"):
            yield call


def used(cluster: Cluster, user: str, rights: set[Right], since: int) -> set[Right]:
    """The rights by which this account's calls were allowed."""
    found = set()
    for call in calls(cluster, user, since):
        role = ALLOWED_BY.search(call["annotations"].get("authorization.k8s.io/reason", ""))
        if role is None:  # everybody may: discovery, questions about one's own rights
            continue
        what = call["objectRef"]
        resource = "/".join(part for part in (what["resource"], what.get("subresource")) if part)
        right = Right(role[1], what.get("apiGroup", ""), resource, call["verb"])
        named = right._replace(name=what.get("name", ""))
        found.add(named if named in rights else right)
    return found


def refused(cluster: Cluster, user: str, since: int) -> set[str]:
    """What this account asked for, and was not allowed."""
    return {
        f"{call['verb']} {call['requestURI'].partition('?')[0]}"
        for call in calls(cluster, user, since)
        if call.get("responseStatus", {}).get("code") in (401, 403)
    }
