"""The example DAG for YARN, as it is shipped: a real Airflow runs it on a real YARN."""

from __future__ import annotations

import json
from pathlib import Path

import durablejob_airflow.example_dags
from tests.e2e.desk import Desk
from tests.e2e.yarn.stage import APPS, Stage
from tests.testbed import airflow, kube, spark

DAGS = Path(durablejob_airflow.example_dags.__file__).parent
DAG = "example_durablejob_yarn"


def test_the_example_runs_a_spark_and_a_generic_application_each_once(
    crds: kube.Cluster, desk: Desk, stage: Stage, tmp_path: Path
) -> None:
    for name, target in (("DailyLoad", "etl.jar"), ("Publish", "publish.jar")):
        stage.cluster.upload(f"/apps/{target}", spark.compile_java([APPS / f"{name}.java"], tmp_path / target))
    spec = {**stage.spec(), "namespaces": [desk.namespace]}
    spec["defaults"]["sparkConf"]["spark.executor.memory"] = "512m"
    desk.apply({"kind": "ClusterJobBackend", "metadata": {"name": "hadoop"}, "spec": spec})
    extra = {"deployment_id": "yarn", "namespace": desk.namespace, "kube_config_path": str(crds.kubeconfig)}
    env = {"AIRFLOW_CONN_DURABLEJOB_DEFAULT": json.dumps({"conn_type": "durablejob", "extra": extra})}
    with airflow.running(DAGS, crds, env) as running:
        running.wait_dag(DAG)
        run = running.trigger(DAG)
        for task in ("load", "publish"):
            end = running.wait_state(DAG, run, task, ("success", "failed"), timeout=300)
            assert (end["state"], end["try_number"]) == ("success", 1), running.task_log(DAG, run, task, 1)
        apps = {task: running.xcom(DAG, run, task)["externalId"] for task in ("load", "publish")}
    assert ": 100 rows" in stage.cluster.container_logs(apps["load"])
    assert "published 20" in stage.cluster.container_logs(apps["publish"])
    found = {app["id"]: app["applicationTags"] for app in stage.cluster.apps()}
    assert "nightly" in found[apps["publish"]]
    (ours,) = (tag for tag in found[apps["load"]].split(",") if tag.startswith("durablejob."))
    assert {app["id"] for app in stage.cluster.apps(applicationTags=ours)} >= set(apps.values())
