"""The Spark provider's example of SparkSubmitOperator: only the import and the connection differ."""

from airflow.sdk import DAG, task

from durablejob_airflow.operators import DurableSparkSubmitOperator

with DAG("moved", schedule=None):
    submit_job = DurableSparkSubmitOperator(
        application="${SPARK_HOME}/examples/src/main/python/pi.py", task_id="submit_job"
    )

with DAG("spark_function", schedule=None):

    @task.durable_spark(application="${SPARK_HOME}/examples/src/main/python/pi.py", retries=1)
    def estimate(partitions: int) -> list[str]:
        """Its value is the application's arguments."""
        return [str(partitions)]

    estimate(3)
