"""The connection type ``durablejob``: where DurableJobs live, and which Airflow this is."""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook, KubernetesHook
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from durablejob_airflow import CONN_TYPE, DEFAULT_CONN_ID
from durablejob_airflow.client import JobsClient
from durablejob_airflow.payload import BackendChoice, WrongArguments, backend_choice, type_of_backend
from durablejob_airflow.resource import VERBS, Refused, ResourceError


class DurableJobHook(KubernetesHook):
    """Reaches the Kubernetes API server where DurableJobs are kept.

    The connection has the fields of the provider's Kubernetes connection for reaching the API server
    (``in_cluster``, ``kube_config_path``, ``kube_config``, ``cluster_context``), and:

    - ``deployment_id`` (required): the name of this Airflow. It is part of every job's identity; two
      Airflows with the same id in one namespace would take each other's jobs for their own.
    - ``namespace``: namespace of the jobs, ``default`` if unset.
    - ``backend``: where jobs run that name no backend, as ``[Kind/]name[:Type]``.
    - ``spark_home``: where Spark lies in the cluster, as a URI: what ``${SPARK_HOME}`` in the names of files means.
    - ``resource_url``: page of a job in a dashboard, with ``{namespace}`` and ``{name}`` in it.

    :param durablejob_conn_id: the connection's id
    """

    conn_name_attr = "durablejob_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = "DurableJob"

    def __init__(self, durablejob_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        kwargs.pop("conn_id", None)
        super().__init__(conn_id=durablejob_conn_id, **kwargs)
        self.durablejob_conn_id = durablejob_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """None: the form is described by the provider's ``conn-fields``."""
        return {}

    def _field(self, name: str) -> Any:
        return self._get_field(name)  # type: ignore[no-untyped-call]  # untyped in the provider

    @property
    def deployment_id(self) -> str:
        """Name of this Airflow.

        :raises AirflowFailException: the connection has none
        """
        try:
            found = self._field("deployment_id")
        except AirflowNotFoundException as error:
            raise AirflowFailException(
                f"There is no connection {self.durablejob_conn_id!r}. Create one of type {CONN_TYPE!r} "
                "with the field 'Deployment id'."
            ) from error
        if not found:
            raise AirflowFailException(
                f"Connection {self.durablejob_conn_id!r}: set the field 'Deployment id' (extra 'deployment_id') to a "
                "name for this Airflow. It has no default, because two Airflows with the same id in one namespace "
                "would take each other's jobs for their own."
            )
        return str(found)

    @property
    def namespace(self) -> str:
        """Namespace of the jobs."""
        return str(self._field("namespace") or self.DEFAULT_NAMESPACE)

    @property
    def spark_home(self) -> str | None:
        """Where Spark lies in the cluster, as a URI; None if the connection does not say."""
        return self._field("spark_home") or None

    def jobs(self, namespace: str | None = None) -> JobsClient:
        """The jobs of a namespace, by default the connection's."""
        return JobsClient(self.api_client, namespace or self.namespace)

    def resource_url(self, namespace: str, name: str) -> str:
        """Where to look at a job: the dashboard's page, else the API server's own URL."""
        template = self._field("resource_url")
        if template:
            return str(template).replace("{namespace}", namespace).replace("{name}", name)
        host = self.api_client.configuration.host
        return f"{host}/apis/durablejob.io/v1alpha1/namespaces/{namespace}/durablejobs/{name}"

    def backend_ref(self, backend: str | dict[str, Any] | None, namespace: str | None = None) -> dict[str, str]:
        """The ``backendRef`` that an operator's ``backend`` means; kind and type are looked up where left out.

        :raises WrongArguments: no backend is named, or there is none of that name
        :raises ResourceError: the API server does not tell
        """
        choice = backend_choice(backend or self._field("backend"))
        if choice.kind and choice.type:
            return {"kind": choice.kind, "name": choice.name, "type": choice.type}
        return self._looked_up(choice, self.jobs(namespace))

    @staticmethod
    def _looked_up(choice: BackendChoice, jobs: JobsClient) -> dict[str, str]:
        for kind in [choice.kind] if choice.kind else ["JobBackend", "ClusterJobBackend"]:
            found = jobs.backend(kind, choice.name)
            if found is not None:
                return {"kind": kind, "name": choice.name, "type": choice.type or type_of_backend(found)}
        other = "" if choice.kind else f", or give kind and type: 'ClusterJobBackend/{choice.name}:SparkStandalone'"
        raise WrongArguments(
            f"backend: there is no {choice.kind or 'JobBackend or ClusterJobBackend'} {choice.name!r} for namespace "
            f"{jobs.namespace!r}; create it{other}"
        )

    def test_connection(self) -> tuple[bool, str]:
        """Deployment id set, the account's rights, the kind DurableJob served, the default backend Ready.

        The account is that of the process that asks: of Airflow's API server, where a person presses the button.
        """
        try:
            deployment = self.deployment_id
            jobs = self.jobs()
            self._check_rights(jobs)
            self._check_served(jobs)
            backend = self._field("backend")
            note = self._check_backend(jobs, backend_choice(backend)) if backend else "no default backend"
        except (ResourceError, WrongArguments, AirflowFailException) as error:
            return False, str(error)
        except Exception as error:  # a broken kubeconfig, a file that is missing: Airflow shows the text
            return False, f"{type(error).__name__}: {error}"
        return (
            True,
            f"Deployment {deployment!r}, namespace {jobs.namespace!r}: DurableJobs can be read and written; {note}",
        )

    @staticmethod
    def _check_rights(jobs: JobsClient) -> None:
        lacking = jobs.forbidden()
        if lacking:
            raise WrongArguments(
                f"Airflow's account may not {', '.join(lacking)} durablejobs in namespace {jobs.namespace!r}: it needs "
                f"{', '.join(VERBS)}"
            )

    @staticmethod
    def _check_served(jobs: JobsClient) -> None:
        """A missing CRD and a missing job both are 404 when one job is read: the list tells them apart."""
        try:
            jobs.count()
        except Refused as error:
            if error.status == 404:
                raise WrongArguments(
                    "the cluster has no DurableJob kind: install durablejob's CRDs (kubectl apply -f crds/)"
                ) from error
            raise

    def _check_backend(self, jobs: JobsClient, choice: BackendChoice) -> str:
        ref = self._looked_up(choice, jobs)
        found = jobs.backend(ref["kind"], ref["name"]) or {}
        conditions = (found.get("status") or {}).get("conditions") or []
        ready: dict[str, Any] = next((c for c in conditions if c.get("type") == "Ready"), {})
        if ready.get("status") != "True":
            why = ready.get("message") or ready.get("reason") or "it was not probed yet: is the controller running?"
            raise WrongArguments(f"{ref['kind']} {ref['name']} is not Ready: {why}")
        return f"{ref['kind']} {ref['name']} is Ready"


class AsyncDurableJobHook(AsyncKubernetesHook):
    """The same connection, for triggers."""

    default_conn_name = DEFAULT_CONN_ID

    async def _get_field(self, field_name: str) -> Any:
        """A field of the connection; like the synchronous hook, in a pod with no setting use the pod's account.

        (AsyncKubernetesHook looks for a kubeconfig only, so that a worker would reach the API server
        and a triggerer with the same connection would not.)
        """
        value = await super()._get_field(field_name)  # type: ignore[no-untyped-call]  # untyped in the provider
        if field_name != "in_cluster" or value is not None or "KUBERNETES_SERVICE_HOST" not in os.environ:
            return value
        extras = await self.get_conn_extras()
        return not (extras.get("kube_config_path") or extras.get("kube_config")) or value

    async def deployment_id(self) -> str:
        """Name of this Airflow; empty where the connection has none (which no worker accepts)."""
        return str(await self._get_field("deployment_id") or "")

    async def _load_config(self) -> None:
        await super()._load_config()  # type: ignore[no-untyped-call]  # untyped in the provider
        extras = await self.get_conn_extras()
        if self.client_configuration and str(extras.get("disable_verify_ssl")).lower() == "true":
            self.client_configuration.verify_ssl = False
