"""DAGs of the end-to-end tests; what their job does comes from the run's conf."""

import os
from datetime import timedelta

from airflow.sdk import DAG

from durablejob_airflow.operators import DurableSparkSubmitOperator

RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=1)}

for dag_id, deferrable, cores in (("deferred", True, 1), ("polling", False, 1), ("too_large", False, 500)):
    with DAG(dag_id, schedule=None, default_args=RETRIES) as dag:
        DurableSparkSubmitOperator(
            task_id="job",
            application="{{ dag_run.conf.get('application') or '" + f"local://{os.environ['E2E_JAR']}" + "' }}",
            java_class="Job",
            application_args=[
                os.environ["E2E_LEDGER"],
                "{{ dag_run.conf['name'] }}",
                # a list of what each try's program is to do
                "{{ dag_run.conf['hows'][[ti.try_number, dag_run.conf['hows'] | length] | min - 1] }}",
                "{{ dag_run.conf.get('seconds', 0) }}",
            ],
            driver_memory="512m",
            driver_cores=cores,
            executor_memory="512m",
            num_executors=1,
            conf={"spark.ui.enabled": "false"},
            backend="{{ dag_run.conf.get('backend', 'JobBackend/spark:SparkStandalone') }}",
            deferrable=deferrable,
            poll_interval=0.5,
        )
    globals()[dag_id] = dag
