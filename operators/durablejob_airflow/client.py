"""Requests for DurableJobs, for the worker. (Importing the Kubernetes client takes a second: DAG parsing does not.)"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kubernetes.client
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from durablejob_airflow.resource import PLURAL, REQUEST_TIMEOUT, VERBS, Absent, Unavailable, raise_for
from durablejob_api import GROUP, VERSION

_PAGE = 500


class JobsClient:
    """DurableJobs of one namespace, for the worker."""

    def __init__(self, api: kubernetes.client.ApiClient, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self._custom = kubernetes.client.CustomObjectsApi(api)

    def _call(self, what: str, method: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            answer = getattr(self._custom, method)(*args, _request_timeout=REQUEST_TIMEOUT, **kwargs)
        except ApiException as error:
            raise_for(error.status or 0, error.body, what)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"{what}: {error}") from error
        if not isinstance(answer, dict):  # a proxy's page, with status 200
            raise Unavailable(f"{what}: the answer is not JSON")
        return answer

    def _where(self, name: str | None = None) -> tuple[str, ...]:
        return (GROUP, VERSION, self.namespace, PLURAL, *([name] if name else []))

    def get(self, name: str) -> dict[str, Any] | None:
        """The job, or None if there is none (a quorum read).

        :raises Unavailable, Refused:
        """
        try:
            return self._call(f"read {self.namespace}/{name}", "get_namespaced_custom_object", *self._where(name))
        except Absent:
            return None

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create the job.

        :raises Conflict: one of that name exists
        :raises Unavailable, Refused:
        """
        what = f"create {self.namespace}/{body['metadata']['name']}"
        return self._call(what, "create_namespaced_custom_object", *self._where(), dict(body))

    def replace(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Write the job if it still is at the resource version that ``body`` carries (compare-and-swap).

        :raises Conflict: it was changed since
        :raises Unavailable, Refused:
        """
        name = body["metadata"]["name"]
        what = f"write {self.namespace}/{name}"
        return self._call(what, "replace_namespaced_custom_object", *self._where(name), dict(body))

    def all(self) -> list[dict[str, Any]]:
        """All jobs of the namespace, as they were at one resource version.

        :raises Unavailable, Refused:
        """
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            more = {"_continue": token} if token else {}
            page = self._call("list DurableJobs", "list_namespaced_custom_object", *self._where(), limit=_PAGE, **more)
            found += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return found

    def count(self) -> int:
        """How many jobs a first page of one holds: 0 or 1. Shows that the kind is served and may be listed."""
        page = self._call("list DurableJobs", "list_namespaced_custom_object", *self._where(), limit=1)
        return len(page.get("items") or ())

    def forbidden(self) -> list[str]:
        """The verbs that Airflow needs on DurableJobs, and that this account does not have in this namespace.

        By SelfSubjectAccessReview, which every authenticated account may ask for.
        """
        return [verb for verb in VERBS if not self._may(verb)]

    def _may(self, verb: str) -> bool:
        asked = {"namespace": self.namespace, "group": GROUP, "resource": PLURAL, "verb": verb}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        where = ("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
        answer = self._call(f"ask for the right to {verb}", "create_cluster_custom_object", *where, body)
        return bool((answer.get("status") or {}).get("allowed"))

    def backend(self, kind: str, name: str) -> dict[str, Any] | None:
        """A JobBackend of the namespace, or a ClusterJobBackend; None if there is none."""
        try:
            if kind == "ClusterJobBackend":
                return self._call(
                    f"read {kind} {name}", "get_cluster_custom_object", GROUP, VERSION, "clusterjobbackends", name
                )
            where = (GROUP, VERSION, self.namespace, "jobbackends", name)
            return self._call(f"read {kind} {name}", "get_namespaced_custom_object", *where)
        except Absent:
            return None
