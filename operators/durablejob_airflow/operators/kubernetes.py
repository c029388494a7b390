"""DurableKubernetesJobOperator: what describes the job in KubernetesJobOperator, with a DurableJob's guarantees."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from durablejob_airflow import kubernetes_payload
from durablejob_airflow.operators.base import DurableOperator
from durablejob_airflow.operators.refused import Refusal, Refusals, renamed, take_out
from durablejob_airflow.payload import WrongArguments

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from durablejob_airflow.view import JobView

_CONNECTION = "the cluster is that of the connection, 'durablejob_conn_id'"
_NAMED = "the Job is named after its attempt; give 'labels' to find it by"
_LOGS = "the program's log stays in the cluster; the backend's 'failureLogLines' tells its end after a failure"
_EVENTS = "the task's log tells what the pods wait for; remove it"
_START = "the backend's 'startDeadlineSeconds' gives up a pod that does not start; 'execution_timeout' limits the whole"
_XCOM = "write results where the next task can read them: the task's XCom is the job's name, namespace, uid and ids"
_NO_PODS = "nothing is asked of pods here: remove it"
_STAYS = "finished pods stay for 'ttl_seconds_after_finished'"
_SELECTOR = "a selector of its own could count the pods of other Jobs: remove it"

REFUSED: Refusals = {
    "kubernetes_conn_id": Refusal(_CONNECTION),
    "in_cluster": Refusal(_CONNECTION),
    "cluster_context": Refusal(_CONNECTION),
    "config_file": Refusal(_CONNECTION),
    "name": Refusal(_NAMED),
    "random_name_suffix": Refusal(_NAMED, (True,)),
    "backoff_limit": Refusal("an attempt's program is started once: give 'retries', each is an attempt", (0,)),
    "manual_selector": Refusal(_SELECTOR, (False,)),
    "selector": Refusal(_SELECTOR),
    "suspend": Refusal("a queue of Kueue's holds it, by the label 'kueue.x-k8s.io/queue-name' in 'labels'", (False,)),
    "wait_until_job_complete": Refusal(
        "the task always ends with its job; deferred, it holds no slot meanwhile", (True,)
    ),
    "on_kill_propagation_policy": Refusal("a cancelled job's pods have always ended before it counts", ("Foreground",)),
    "discover_pods_retry_number": Refusal(_NO_PODS),
    "unwrap_single": Refusal(_XCOM, (True,)),
    "do_xcom_push": Refusal(_XCOM, (False,), passed_on=True),
    "xcom_sidecar_container_security_context": Refusal(_XCOM),
    "reattach_on_restart": Refusal("use 'durable', as in Airflow 3.3"),
    "startup_timeout_seconds": Refusal(_START),
    "startup_check_interval_seconds": Refusal(_START),
    "schedule_timeout_seconds": Refusal(_START),
    "get_logs": Refusal(_LOGS, (False,)),
    "container_logs": Refusal(_LOGS, (False, [], ())),
    "init_container_logs": Refusal(_LOGS, (False, [], ())),
    "container_name_log_prefix_enabled": Refusal(_LOGS),
    "log_formatter": Refusal(_LOGS),
    "logging_interval": Refusal(_LOGS),
    "log_events_on_failure": Refusal(_EVENTS, (False,)),
    "log_events_on_startup": Refusal(_EVENTS, (False,)),
    "log_pod_spec_on_failure": Refusal(
        "look at the DurableJob, which holds it: the link is on the task's page", (False,)
    ),
    "base_container_status_polling_interval": Refusal(_NO_PODS),
    "callbacks": Refusal(_NO_PODS, ([], ())),
    "progress_callback": Refusal(_NO_PODS),
    "trigger_kwargs": Refusal(_NO_PODS, ({},)),
    "on_finish_action": Refusal(_STAYS, ("keep_pod",)),
    "is_delete_operator_pod": Refusal(_STAYS, (False,)),
    "on_kill_action": Refusal("a person who ends the task ends its job; nothing else does", ("delete_pod",)),
}
"""Arguments of KubernetesJobOperator without a meaning here."""


class DurableKubernetesJobOperator(DurableOperator):
    """Runs a Kubernetes Job, submitted once per attempt by the DurableJob controller.

    The arguments are those of the Kubernetes provider's ``KubernetesJobOperator`` that describe the job; those that
    say how a worker watches it are refused when the DAG is parsed, with the alternative. Objects of the Kubernetes
    client's classes may be given as mappings too, as the API spells them.

    The program is started once: ``backoffLimit`` is 0 and ``restartPolicy`` Never, whatever a template says; trying
    again is for the task's ``retries``. Names in templates are not used.

    :param image: image of the container. (templated)
    :param cmds: its entrypoint; by default the image's. (templated)
    :param arguments: arguments of the entrypoint. (templated)
    :param env_vars: its environment: a mapping, or V1EnvVars. (templated)
    :param env_from: sources of more environment, as V1EnvFromSources. (templated)
    :param configmaps: names of ConfigMaps whose keys become environment. (templated)
    :param pod_runtime_info_envs: environment from fields of the pod, as V1EnvVars
    :param secrets: the provider's ``Secret`` objects: environment or volumes
    :param ports: ports, as V1ContainerPorts
    :param volumes: volumes of the pod, as V1Volumes. (templated)
    :param volume_mounts: where they are mounted, as V1VolumeMounts. (templated)
    :param image_pull_policy: ``Always``, ``IfNotPresent`` or ``Never``
    :param image_pull_secrets: Secrets to pull images with: names, comma-separated, or V1LocalObjectReferences
    :param container_resources: its resources, as V1ResourceRequirements. (templated)
    :param container_security_context: its V1SecurityContext
    :param termination_message_policy: ``File`` or ``FallbackToLogsOnError``
    :param base_container_name: name of the container, by default ``base``. (templated)
    :param init_containers: init containers, as V1Containers
    :param annotations: annotations of the pods. (templated)
    :param affinity: the pods' V1Affinity
    :param automount_service_account_token: whether the pods get their service account's token
    :param dns_config: the pods' V1PodDNSConfig
    :param dnspolicy: their DNS policy
    :param host_aliases: their V1HostAliases
    :param hostname: their host name. (templated)
    :param hostnetwork: whether they use the node's network
    :param node_selector: labels that their node must have. (templated)
    :param priority_class_name: their priority class
    :param runtime_class_name: their RuntimeClass
    :param schedulername: their scheduler
    :param security_context: their V1PodSecurityContext
    :param service_account_name: their service account
    :param subdomain: their subdomain
    :param termination_grace_period: seconds between the request to end and SIGKILL
    :param tolerations: their V1Tolerations
    :param pod_template_file: path, on the worker, of a pod's YAML that the arguments go over. (templated)
    :param pod_template_dict: the same as a mapping, as the API spells it. (templated)
    :param full_pod_spec: the same as a V1Pod
    :param job_template_file: path, on the worker, of a Job's YAML that the pod goes over. (templated)
    :param full_job_spec: the same as a V1Job
    :param completion_mode: ``Indexed``: one program for each index; otherwise there is one
    :param completions: number of indexes
    :param parallelism: how many of them run at the same time
    :param skip_on_exit_code: exit codes that make the task skipped, not failed
    :param job_poll_interval: another name of ``poll_interval``
    :param labels: labels of the DurableJob and of its pods. Kueue's are passed on to the Job. (templated)

    All other parameters are described at :class:`~durablejob_airflow.operators.base.DurableOperator`.
    """

    refused = REFUSED
    template_fields: Sequence[str] = (
        "image",
        "cmds",
        "arguments",
        "env_vars",
        "env_from",
        "configmaps",
        "volumes",
        "volume_mounts",
        "container_resources",
        "base_container_name",
        "annotations",
        "hostname",
        "node_selector",
        "pod_template_file",
        "pod_template_dict",
        "job_template_file",
        *DurableOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"env_vars": "py", "pod_template_dict": "json"}

    def __init__(
        self,
        *,
        image: str | None = None,
        cmds: list[str] | None = None,
        arguments: list[str] | None = None,
        env_vars: list[Any] | dict[str, Any] | None = None,
        env_from: list[Any] | None = None,
        configmaps: list[str] | None = None,
        pod_runtime_info_envs: list[Any] | None = None,
        secrets: list[Any] | None = None,
        ports: list[Any] | None = None,
        volumes: list[Any] | None = None,
        volume_mounts: list[Any] | None = None,
        image_pull_policy: str | None = None,
        image_pull_secrets: list[Any] | str | None = None,
        container_resources: Any = None,
        container_security_context: Any = None,
        termination_message_policy: str | None = None,
        base_container_name: str | None = None,
        init_containers: list[Any] | None = None,
        annotations: dict[str, str] | None = None,
        affinity: Any = None,
        automount_service_account_token: bool | None = None,
        dns_config: Any = None,
        dnspolicy: str | None = None,
        host_aliases: list[Any] | None = None,
        hostname: str | None = None,
        hostnetwork: bool | None = None,
        node_selector: dict[str, str] | None = None,
        priority_class_name: str | None = None,
        runtime_class_name: str | None = None,
        schedulername: str | None = None,
        security_context: Any = None,
        service_account_name: str | None = None,
        subdomain: str | None = None,
        termination_grace_period: int | None = None,
        tolerations: list[Any] | None = None,
        pod_template_file: str | None = None,
        pod_template_dict: dict[str, Any] | None = None,
        full_pod_spec: Any = None,
        job_template_file: str | None = None,
        full_job_spec: Any = None,
        completion_mode: str | None = None,
        completions: int | None = None,
        parallelism: int | None = None,
        skip_on_exit_code: int | Container[int] | None = None,
        job_poll_interval: float | None = None,
        **kwargs: Any,
    ) -> None:
        take_out(type(self).__name__, self.refused, kwargs)
        renamed(type(self).__name__, "job_poll_interval", job_poll_interval, "poll_interval", kwargs)
        super().__init__(**kwargs)
        self.image = image
        self.cmds = cmds
        self.arguments = arguments
        self.env_vars = env_vars
        self.env_from = env_from
        self.configmaps = configmaps
        self.pod_runtime_info_envs = pod_runtime_info_envs
        self.secrets = secrets
        self.ports = ports
        self.volumes = volumes
        self.volume_mounts = volume_mounts
        self.image_pull_policy = image_pull_policy
        self.image_pull_secrets = image_pull_secrets
        self.container_resources = container_resources
        self.container_security_context = container_security_context
        self.termination_message_policy = termination_message_policy
        self.base_container_name = base_container_name
        self.init_containers = init_containers
        self.annotations = annotations
        self.affinity = affinity
        self.automount_service_account_token = automount_service_account_token
        self.dns_config = dns_config
        self.dnspolicy = dnspolicy
        self.host_aliases = host_aliases
        self.hostname = hostname
        self.hostnetwork = hostnetwork
        self.node_selector = node_selector
        self.priority_class_name = priority_class_name
        self.runtime_class_name = runtime_class_name
        self.schedulername = schedulername
        self.security_context = security_context
        self.service_account_name = service_account_name
        self.subdomain = subdomain
        self.termination_grace_period = termination_grace_period
        self.tolerations = tolerations
        self.pod_template_file = pod_template_file
        self.pod_template_dict = pod_template_dict
        self.full_pod_spec = full_pod_spec
        self.job_template_file = job_template_file
        self.full_job_spec = full_job_spec
        self.completion_mode = completion_mode
        self.completions = completions
        self.parallelism = parallelism
        self.skip_on_exit_code = (skip_on_exit_code,) if isinstance(skip_on_exit_code, int) else skip_on_exit_code or ()

    def work(self) -> Mapping[str, Any]:
        given = {name: getattr(self, name) for name in kubernetes_payload.ARGUMENTS}
        own = kubernetes_payload.namespace_of(given)
        if own and own != (self.namespace or self.hook.namespace):
            raise WrongArguments(f"a template names namespace {own!r}: give namespace={own!r}, or take it out")
        return {"kubernetesJob": {"template": kubernetes_payload.job_spec(given)}}

    def is_skip(self, job: JobView) -> bool:
        return job.ended == "Failed" and job.exit_code is not None and job.exit_code in self.skip_on_exit_code

    def _render_nested_template_fields(
        self, content: Any, context: Context, jinja_env: jinja2.Environment, seen_oids: set[int]
    ) -> None:
        """Objects of the Kubernetes client are rendered with all they hold, like mappings."""
        fields = getattr(content, "openapi_types", None)
        if fields is None:
            super()._render_nested_template_fields(content, context, jinja_env, seen_oids)
        elif id(content) not in seen_oids:
            seen_oids.add(id(content))
            self._do_render_template_fields(content, tuple(fields), context, jinja_env, seen_oids)
