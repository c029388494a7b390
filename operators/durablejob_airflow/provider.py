"""What Airflow's provider discovery reads. Imports nothing of Airflow, so that it never breaks a start."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": ["string", "null"]}


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": _TEXT | schema}


_CONN_FIELDS = {
    "deployment_id": _field(
        "Deployment id",
        "Name of this Airflow; required. Give a copy of it (staging, a laptop) another one: two Airflows with the same "
        "id in a namespace end each other's jobs within minutes.",
    ),
    "namespace": _field("Namespace", "Kubernetes namespace of the DurableJobs; by default 'default'."),
    "backend": _field("Default backend", "Where jobs run that name no backend: [Kind/]name[:Type]."),
    "spark_home": _field(
        "Spark home", "Where Spark lies in the cluster, as a URI: what ${SPARK_HOME} means in the names of files."
    ),
    "resource_url": _field(
        "Resource URL", "Page of a DurableJob in your dashboard, with {namespace} and {name} in it."
    ),
    "in_cluster": {"label": "In cluster configuration", "schema": {"type": ["boolean", "null"]}},
    "kube_config_path": _field("Kube config path", "Path to a kubeconfig on workers and triggerers."),
    "kube_config": _field("Kube config (JSON format)", "A kubeconfig itself.", format="password"),
    "cluster_context": _field("Cluster context", "Context of the kubeconfig."),
    "disable_verify_ssl": {"label": "Disable SSL verification", "schema": {"type": ["boolean", "null"]}},
}


def get_provider_info() -> dict[str, Any]:
    """The provider's description, by the schema ``provider_info.schema.json`` of Airflow."""
    name = "durablejob"
    return {
        "package-name": name,  # must equal the distribution's name, else discovery raises
        "name": "DurableJob",
        "description": "External jobs that are submitted once and re-attached after every crash.",
        "integrations": [{"integration-name": "DurableJob", "tags": ["software"]}],
        "operators": [
            {
                "integration-name": "DurableJob",
                "python-modules": [
                    "durablejob_airflow.operators.base",
                    "durablejob_airflow.operators.kubernetes",
                    "durablejob_airflow.operators.spark",
                    "durablejob_airflow.operators.yarn",
                ],
            }
        ],
        "sensors": [{"integration-name": "DurableJob", "python-modules": ["durablejob_airflow.sensors"]}],
        "task-decorators": [
            {"name": "durable_spark", "class-name": "durablejob_airflow.decorators.durable_spark_task"},
            {
                "name": "durable_kubernetes_job",
                "class-name": "durablejob_airflow.decorators.durable_kubernetes_job_task",
            },
        ],
        "hooks": [{"integration-name": "DurableJob", "python-modules": ["durablejob_airflow.hooks"]}],
        "triggers": [{"integration-name": "DurableJob", "python-modules": ["durablejob_airflow.triggers"]}],
        "cli": ["durablejob_airflow.cli.commands"],
        "extra-links": ["durablejob_airflow.links.ExternalJobLink", "durablejob_airflow.links.ResourceLink"],
        "connection-types": [
            {
                "connection-type": "durablejob",
                "hook-class-name": "durablejob_airflow.hooks.DurableJobHook",
                "hook-name": "DurableJob",
                "conn-fields": _CONN_FIELDS,
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login", "password", "port", "extra"],
                    "placeholders": {
                        "deployment_id": "airflow-prod",
                        "namespace": "data",
                        "backend": "ClusterJobBackend/spark-prod:SparkStandalone",
                        "spark_home": "local:///opt/spark",
                    },
                },
            }
        ],
    }
