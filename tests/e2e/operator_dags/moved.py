"""The Spark provider's example of SparkSubmitOperator: only the import and the connection differ."""

from airflow.sdk import DAG

from durablejob_airflow.operators import DurableSparkSubmitOperator

with DAG("moved", schedule=None):
    submit_job = DurableSparkSubmitOperator(
        application="${SPARK_HOME}/examples/src/main/python/pi.py", task_id="submit_job"
    )
