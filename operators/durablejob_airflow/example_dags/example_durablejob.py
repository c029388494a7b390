"""A Spark application that is submitted once, whatever crashes meanwhile."""

from datetime import timedelta

from airflow.sdk import DAG

from durablejob_airflow.operators import DurableSparkSubmitOperator

with DAG("example_durablejob", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(minutes=1)}):
    DurableSparkSubmitOperator(
        task_id="daily_load",
        application="s3a://warehouse/jobs/etl.jar",
        java_class="com.example.DailyLoad",
        application_args=["--day", "{{ dag_run.run_after | ds }}"],
        conf={"spark.sql.shuffle.partitions": 200},
        num_executors=2,
        executor_memory="2g",
        backend="ClusterJobBackend/spark-prod:SparkStandalone",
    )
