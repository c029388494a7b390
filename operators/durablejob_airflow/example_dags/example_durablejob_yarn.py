"""A Spark application on YARN, then one with an ApplicationMaster of its own: each is submitted once."""

from datetime import timedelta

from airflow.sdk import DAG

from durablejob_airflow.operators import DurableSparkSubmitOperator, DurableYarnOperator

with DAG("example_durablejob_yarn", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(minutes=1)}):
    load = DurableSparkSubmitOperator(
        task_id="load",
        application="hdfs:///apps/etl.jar",
        java_class="com.example.DailyLoad",
        application_args=["--day", "{{ dag_run.run_after | ds }}"],
        num_executors=2,
        executor_memory="2g",
        yarn_queue="default",
        backend="ClusterJobBackend/hadoop:Yarn",
    )
    publish = DurableYarnOperator(
        task_id="publish",
        command=(
            "{{ '{{JAVA_HOME}}' }}/bin/java -Xmx128m"
            " -cp publish.jar:{{ '{{HADOOP_CONF_DIR}}' }}:{{ '{{HADOOP_COMMON_HOME}}' }}/share/hadoop/client/*"
            " com.example.Publish {{ dag_run.run_after | ds }} 1><LOG_DIR>/stdout 2><LOG_DIR>/stderr"
        ),
        local_resources={"publish.jar": "hdfs:///apps/publish.jar"},
        memory_mb=256,
        tags=["nightly"],
        backend="ClusterJobBackend/hadoop:Yarn",
    )
    load >> publish
