"""The DAG of the triggerer's benchmark; its task never runs here: its rows are made waiting."""

from airflow.sdk import DAG

from durablejob_airflow.operators import DurableJobOperator

with DAG("waiting", schedule=None):
    DurableJobOperator(
        task_id="job",
        pool="closed",
        spec={"plugin": {"parameters": {}}},
        backend="JobBackend/fake:Plugin",
        durablejob_conn_id="durablejob_bench",
        retries=1,
    )
