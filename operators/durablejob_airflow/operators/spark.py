"""DurableSparkSubmitOperator: SparkSubmitOperator's arguments, a DurableJob's guarantees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from durablejob_airflow.operators.base import DurableOperator
from durablejob_airflow.payload import spark_work

_NO_CLIENT = "no spark-submit runs here: remove it"
_PACKAGES = "give the JARs themselves in 'jars' (built into the image, or on a store that the backend allows)"
_KERBEROS = "credentials belong to the backend, not to the worker: ask its administrator"
_ALWAYS = "remove it: jobs are always followed through the cluster's own API, and no JVM is held"
_LINEAGE = "set the OpenLineage properties in 'conf' until durablejob injects them"

REFUSED: Mapping[str, tuple[tuple[object, ...], str]] = {
    "driver_class_path": ((), "put the JARs in 'jars': they are on the driver's class path"),
    "packages": ((), _PACKAGES),
    "exclude_packages": ((), _PACKAGES),
    "repositories": ((), _PACKAGES),
    "keytab": ((), _KERBEROS),
    "principal": ((), _KERBEROS),
    "proxy_user": ((), _KERBEROS),
    "use_krb5ccache": ((False,), _KERBEROS),
    "verbose": ((False,), "set the driver's log level in 'conf'"),
    "spark_binary": ((), _NO_CLIENT),
    "properties_file": ((), "give its properties in 'conf'"),
    "deploy_mode": (("cluster",), "the driver always runs in the cluster: remove it"),
    "post_submit_commands": (([], ()), "make them a task of their own, downstream of this one"),
    "track_driver_via_k8s_api": ((False,), _ALWAYS),
    "yarn_track_via_rm_api": ((False,), _ALWAYS),
    "yarn_rm_auth": ((), _KERBEROS),
    "openlineage_inject_parent_job_info": ((False,), _LINEAGE),
    "openlineage_inject_transport_info": ((False,), _LINEAGE),
    "reconnect_on_retry": ((), "use 'durable', as in Airflow 3.3"),
}
"""Arguments of SparkSubmitOperator without a meaning here: values that say nothing (besides None), and what to do."""


def check_refused(arguments: Mapping[str, object]) -> None:
    """Refuse what would otherwise be ignored.

    :raises ValueError: naming each argument and its alternative
    """
    wrong = [
        f"{name}: {REFUSED[name][1]}"
        for name, value in arguments.items()
        if value is not None and not any(value is empty or value == empty for empty in REFUSED[name][0])
    ]
    if wrong:
        raise ValueError("DurableSparkSubmitOperator does not take " + "; ".join(wrong))


class DurableSparkSubmitOperator(DurableOperator):
    """Runs a Spark application, submitted once per attempt by the DurableJob controller.

    The arguments are those of the Spark provider's ``SparkSubmitOperator``; moving a DAG is a change of
    the import and of the connection. What has no meaning without a spark-submit on the worker is
    refused when the DAG is parsed, with the alternative.

    :param application: the application: a JAR, or a .py file, by a URI that the backend allows. (templated)
    :param java_class: class with main(), for a JAR. (templated)
    :param application_args: arguments of the application. (templated)
    :param conf: Spark configuration. (templated)
    :param name: name of the application (``spark.app.name``). (templated)
    :param jars: further JARs, comma-separated or a list. (templated)
    :param py_files: Python files, zips and eggs, comma-separated or a list. (templated)
    :param files: files for the executors' working folders, comma-separated or a list. (templated)
    :param archives: archives to unpack there, comma-separated or a list. (templated)
    :param env_vars: environment of the driver. (templated)
    :param num_executors: number of executors
    :param executor_cores: cores of each executor
    :param executor_memory: memory of each executor, as Spark writes it: ``2g``
    :param total_executor_cores: cores of all executors together (``spark.cores.max``; standalone)
    :param driver_cores: cores of the driver
    :param driver_memory: memory of the driver
    :param yarn_queue: queue, on YARN. (templated)
    :param conn_id: as ``durablejob_conn_id``
    :param status_poll_interval: as ``poll_interval``

    All other parameters are described at :class:`~durablejob_airflow.operators.base.DurableOperator`.
    """

    template_fields: Sequence[str] = (
        "application",
        "java_class",
        "application_args",
        "conf",
        "name",
        "jars",
        "py_files",
        "files",
        "archives",
        "env_vars",
        "yarn_queue",
        *DurableOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"conf": "json", "env_vars": "json"}

    def __init__(
        self,
        *,
        application: str,
        java_class: str | None = None,
        application_args: list[Any] | None = None,
        conf: dict[Any, Any] | None = None,
        name: str | None = None,
        jars: str | list[str] | None = None,
        py_files: str | list[str] | None = None,
        files: str | list[str] | None = None,
        archives: str | list[str] | None = None,
        env_vars: dict[str, Any] | None = None,
        num_executors: int | None = None,
        executor_cores: int | None = None,
        executor_memory: str | None = None,
        total_executor_cores: int | None = None,
        driver_cores: int | None = None,
        driver_memory: str | None = None,
        yarn_queue: str | None = None,
        conn_id: str | None = None,
        status_poll_interval: float | None = None,
        **kwargs: Any,
    ) -> None:
        check_refused({key: kwargs.pop(key) for key in REFUSED if key in kwargs})
        if conn_id is not None:
            kwargs["durablejob_conn_id"] = conn_id
        if status_poll_interval is not None:
            kwargs["poll_interval"] = status_poll_interval
        super().__init__(**kwargs)
        self.application = application
        self.java_class = java_class
        self.application_args = application_args
        self.conf = conf
        self.name = name
        self.jars = jars
        self.py_files = py_files
        self.files = files
        self.archives = archives
        self.env_vars = env_vars
        self.num_executors = num_executors
        self.executor_cores = executor_cores
        self.executor_memory = executor_memory
        self.total_executor_cores = total_executor_cores
        self.driver_cores = driver_cores
        self.driver_memory = driver_memory
        self.yarn_queue = yarn_queue

    def work(self) -> Mapping[str, Any]:
        return {
            "spark": spark_work(
                application=self.application,
                java_class=self.java_class,
                application_args=self.application_args,
                conf=self.conf,
                name=self.name,
                jars=self.jars,
                py_files=self.py_files,
                files=self.files,
                archives=self.archives,
                env_vars=self.env_vars,
                num_executors=self.num_executors,
                executor_cores=self.executor_cores,
                executor_memory=self.executor_memory,
                total_executor_cores=self.total_executor_cores,
                driver_cores=self.driver_cores,
                driver_memory=self.driver_memory,
                yarn_queue=self.yarn_queue,
            )
        }
