"""DurableSparkSubmitOperator: SparkSubmitOperator's arguments, a DurableJob's guarantees."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, overload

from airflow.sdk.configuration import conf as airflow_conf
from airflow.sdk.exceptions import AirflowFailException

from durablejob_airflow.operators.base import DurableOperator
from durablejob_airflow.operators.refused import Refusal, Refusals, renamed, take_out
from durablejob_airflow.payload import WrongArguments, spark_work

if TYPE_CHECKING:
    from airflow.sdk import Context

_NO_CLIENT = "no spark-submit runs here: remove it"
_PACKAGES = "give the JARs themselves in 'jars' (built into the image, or on a store that the backend allows)"
_KERBEROS = "credentials belong to the backend, not to the worker: ask its administrator"
_ALWAYS = "remove it: jobs are always followed through the cluster's own API, and no JVM is held"
_TRANSPORT = (
    "the transport's credentials would stand in the DurableJob: its administrator sets the transport in the backend's "
    "'defaults.sparkConf'"
)

REFUSED: Refusals = {
    "driver_class_path": Refusal("put the JARs in 'jars': they are on the driver's class path"),
    "packages": Refusal(_PACKAGES),
    "exclude_packages": Refusal(_PACKAGES),
    "repositories": Refusal(_PACKAGES),
    "keytab": Refusal(_KERBEROS),
    "principal": Refusal(_KERBEROS),
    "proxy_user": Refusal(_KERBEROS),
    "use_krb5ccache": Refusal(_KERBEROS, (False,)),
    "verbose": Refusal("set the driver's log level in 'conf'", (False,)),
    "spark_binary": Refusal(_NO_CLIENT),
    "properties_file": Refusal("give its properties in 'conf'"),
    "deploy_mode": Refusal("the driver always runs in the cluster: remove it", ("cluster",)),
    "post_submit_commands": Refusal("make them a task of their own, downstream of this one", ([], ())),
    "track_driver_via_k8s_api": Refusal(_ALWAYS, (False,)),
    "yarn_track_via_rm_api": Refusal(_ALWAYS, (False,)),
    "yarn_rm_auth": Refusal(_KERBEROS),
    "openlineage_inject_transport_info": Refusal(_TRANSPORT, (False,)),
    "reconnect_on_retry": Refusal("use 'durable', as in Airflow 3.3"),
}
"""Arguments of SparkSubmitOperator without a meaning here."""

_SPARK_HOME = re.compile(r"\$\{SPARK_HOME\}|\$SPARK_HOME\b")


class DurableSparkSubmitOperator(DurableOperator):
    """Runs a Spark application, submitted once per attempt by the DurableJob controller.

    The arguments are those of the Spark provider's ``SparkSubmitOperator``; moving a DAG is a change of
    the import and of the connection. What has no meaning without a spark-submit on the worker is
    refused when the DAG is parsed, with the alternative.

    ``${SPARK_HOME}`` in the names of files is what the connection says that it is in the cluster.

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
    :param openlineage_inject_parent_job_info: tell the application which task (and which try of it submitted the
        attempt) it belongs to, as ``spark.openlineage.parent*`` in its configuration; by default
        ``[openlineage] spark_inject_parent_job_info``. Needs the OpenLineage provider
    :param conn_id: another name of ``durablejob_conn_id``
    :param status_poll_interval: another name of ``poll_interval``

    All other parameters are described at :class:`~durablejob_airflow.operators.base.DurableOperator`.
    """

    refused = REFUSED
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
        openlineage_inject_parent_job_info: bool | None = None,
        conn_id: str | None = None,
        status_poll_interval: float | None = None,
        **kwargs: Any,
    ) -> None:
        take_out(type(self).__name__, self.refused, kwargs)
        renamed(type(self).__name__, "conn_id", conn_id, "durablejob_conn_id", kwargs)
        renamed(type(self).__name__, "status_poll_interval", status_poll_interval, "poll_interval", kwargs)
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
        if openlineage_inject_parent_job_info is None:
            openlineage_inject_parent_job_info = airflow_conf.getboolean(
                "openlineage", "spark_inject_parent_job_info", fallback=False
            )
        self.openlineage_inject_parent_job_info = openlineage_inject_parent_job_info

    def fill_in(self, context: Context) -> None:
        """Put the task's lineage into the configuration, where that is wished for."""
        super().fill_in(context)
        if self.openlineage_inject_parent_job_info:
            self.conf = with_lineage(self.conf, context)

    def work(self) -> Mapping[str, Any]:
        return {
            "spark": spark_work(
                application=self._located(self.application),
                java_class=self.java_class,
                application_args=self.application_args,
                conf=self.conf,
                name=self.name,
                jars=self._located(self.jars),
                py_files=self._located(self.py_files),
                files=self._located(self.files),
                archives=self._located(self.archives),
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

    @overload
    def _located(self, files: str) -> str: ...

    @overload
    def _located(self, files: str | list[str] | None) -> str | list[str] | None: ...

    def _located(self, files: str | list[str] | None) -> str | list[str] | None:
        """The names of files, with what ``${SPARK_HOME}`` stands for in the cluster."""
        if isinstance(files, list):
            return [self._located(file) for file in files]
        if files is None or not _SPARK_HOME.search(files):
            return files
        home = self.hook.spark_home
        if not home:
            raise WrongArguments(
                f"{files!r}: the worker's SPARK_HOME is not the cluster's. Set 'Spark home' in connection "
                f"{self.durablejob_conn_id!r} (for instance local:///opt/spark), or write the URI itself"
            )
        return _SPARK_HOME.sub(lambda _: home.rstrip("/"), files)


def with_lineage(conf: Mapping[Any, Any] | None, context: Context) -> dict[Any, Any]:
    """The configuration with the task as the application's parent, by the OpenLineage provider's own rules.

    :raises AirflowFailException: the provider is missing: it would be left out without a word
    """
    from airflow.providers.common.compat.openlineage.utils import spark  # imports the provider: not by parsing

    inject = spark.inject_parent_job_information_into_spark_properties
    if inject.__module__ == spark.__name__:
        raise AirflowFailException(
            "openlineage_inject_parent_job_info: install apache-airflow-providers-openlineage, or leave it out"
        )
    return dict(inject(dict(conf or {}), context))
