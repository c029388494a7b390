"""The API server as the tests see it: what it accepts, and in which words it refuses."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import ApiException, CustomObjectsApi

from durablejob_api import API_VERSION, GROUP, VERSION

Json = dict[str, Any]
_PREAMBLE = re.compile('.*?: "(?:object|string)": ')
PLURALS = {"DurableJob": "durablejobs", "JobBackend": "jobbackends", "ClusterJobBackend": "clusterjobbackends"}


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
    """``base`` after a JSON merge patch: None removes, mappings merge, the rest replaces."""
    result = copy.deepcopy(dict(base))
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


class Refused(Exception):
    """The API server said no; ``messages`` are the causes, without the server's own preamble."""

    def __init__(self, error: ApiException) -> None:
        status = json.loads(error.body)
        causes = status.get("details", {}).get("causes", [])
        self.messages = {_PREAMBLE.sub("", cause["message"]) for cause in causes}
        self.fields = {cause.get("field", "") for cause in causes}
        super().__init__(status["message"])


class Api:
    """Writes our kinds in one namespace; by default as a dry run, which validates and keeps nothing."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._objects = CustomObjectsApi(config.new_client_from_config(str(kubeconfig)))
        self.namespace = namespace

    def create(self, kind: str, name: str, spec: Json, *, keep: bool = False, **metadata: Any) -> Json:
        """Create an object; unknown fields are an error."""
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}
        return self._call("create", kind, body, keep=keep, field_validation="Strict")

    def patch(self, kind: str, name: str, change: Json, *, status: bool = False, keep: bool = False) -> Json:
        """Merge ``change`` into an object, or into its status."""
        change = {"status": change} if status else {"spec": change}
        return self._call("patch", kind, name, change, status=status, keep=keep)

    def drop_finalizers(self, kind: str, name: str) -> None:
        """Let an object go with its namespace."""
        self._call("patch", kind, name, {"metadata": {"finalizers": None}}, keep=True)

    def replace_status(self, kind: str, whole: Json) -> Json:
        """Put an object's status, as the controller does."""
        return self._call("replace", kind, whole["metadata"]["name"], whole, status=True, keep=False)

    def list(self, kind: str, field_selector: str) -> list[str]:
        """Names of the objects that the API server selects."""
        found = self._objects.list_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURALS[kind], field_selector=field_selector
        )
        return [item["metadata"]["name"] for item in found["items"]]

    def _call(self, verb: str, kind: str, *args: Any, status: bool = False, keep: bool, **options: Any) -> Json:
        cluster_wide = kind.startswith("Cluster")
        call = getattr(
            self._objects,
            f"{verb}_{'cluster' if cluster_wide else 'namespaced'}_custom_object{'_status' if status else ''}",
        )
        where = (GROUP, VERSION, PLURALS[kind]) if cluster_wide else (GROUP, VERSION, self.namespace, PLURALS[kind])
        if verb == "patch":
            options["_content_type"] = "application/merge-patch+json"
        if not keep:
            options["dry_run"] = "All"
        try:
            result: Json = call(*where, *args, **options)
        except ApiException as error:
            raise Refused(error) from error
        return result
