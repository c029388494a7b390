"""A YARN cluster with the test applications on its HDFS, and how work for it is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.e2e.desk import Desk
from tests.testbed import spark, yarn

APPS = Path(__file__).parents[2] / "apps"
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"
Object = dict[str, Any]


class Stage:
    """One cluster for jobs of one desk."""

    def __init__(self, cluster: yarn.Yarn, desk: Desk, folder: Path) -> None:
        self.cluster = cluster
        self.desk = desk
        cluster.mkdirs("/apps")
        cluster.mkdirs("/staging", mode="700", owner=yarn.USER)
        for name in ("Job", "Master"):
            jar = spark.compile_java([APPS / f"{name}.java"], folder / f"{name.lower()}.jar")
            cluster.upload(f"/apps/{name.lower()}.jar", jar)
        cluster.upload("/apps/job.py", APPS / "job.py")
        for path in sorted((spark.build() / "python" / "lib").glob("*.zip")):
            cluster.upload(f"/apps/{path.name}", path)
        self.python_libs = [
            f"{cluster.hdfs}/apps/{path.name}" for path in sorted((spark.build() / "python" / "lib").glob("*.zip"))
        ]
        desk.ledger.chmod(0o666)

    def backend(self, name: str, *, gated: bool = False, through: str | None = None, **more: Any) -> str:
        """A JobBackend for this cluster; ``through`` a proxy before its first ResourceManager."""
        self.desk.backend(name, self.spec(gated=gated, through=through, **more))
        return name

    def spec(self, *, gated: bool = False, through: str | None = None, **more: Any) -> Object:
        """Spec of a backend for this cluster."""
        cluster = self.cluster
        managers = [through] if through else [manager.url for manager in cluster.managers]
        webhdfs = {"nameNodes": [cluster.name_node], "dataNodes": [cluster.data_node]}
        return {
            "yarn": {
                "resourceManagers": managers,
                "user": yarn.USER,
                "staging": {"dir": f"{cluster.hdfs}/staging", "webhdfs": webhdfs},
                "spark": {
                    "version": "4.3.0", "jars": f"local://{spark.build()}/jars", "pythonLibs": self.python_libs,
                    **more.pop("spark", {}),
                },
            },
            "fence": {"mode": "Gate" if gated else "Staging"},
            "defaults": {"sparkConf": {"spark.ui.enabled": "false", "spark.driver.extraJavaOptions": QUICK,
                                       "spark.executor.extraJavaOptions": QUICK,
                                       "spark.pyspark.python": sys.executable}},
            **more,
        }  # fmt: skip

    def ready(self, name: str) -> Object:
        """The backend's status."""
        status: Object = self.desk.get(name, "jobbackends")["status"]
        return status

    def generic(self, backend: str, name: str, how: str = "SUCCEEDED", seconds: float = 0, **more: Any) -> Object:
        """An application with an ApplicationMaster of its own (Master.java)."""
        classes = "master.jar:{{HADOOP_CONF_DIR}}:{{HADOOP_COMMON_HOME}}/share/hadoop/client/*"
        arguments = f"{self.desk.ledger} {name} {how} {seconds}"
        java = "{{JAVA_HOME}}/bin/java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        work = {
            "command": f"{java} -cp {classes} Master {arguments} 1><LOG_DIR>/stdout 2><LOG_DIR>/stderr",
            "localResources": [{"name": "master.jar", "uri": "hdfs:///apps/master.jar"}],
            "resource": {"memoryMb": 256},
            **more,
        }
        return {"backendRef": {"name": backend, "type": "Yarn"}, "yarn": work}

    def spark(
        self, backend: str, name: str, how: str = "succeed", seconds: float = 0, *, python: bool = False, **more: Any
    ) -> Object:
        """A Spark application (Job.java, job.py)."""
        work: Object = {
            "mainApplicationFile": f"{self.cluster.hdfs}/apps/job.{'py' if python else 'jar'}",
            "arguments": [str(self.desk.ledger), name, how, str(seconds)],
            "driver": {"memory": "512m"},
            "executor": {"instances": 1, "cores": 1, "memory": "512m"},
            **({} if python else {"mainClass": "Job"}),
            **more,
        }
        return {"backendRef": {"name": backend, "type": "Yarn"}, "spark": work}

    def app_of(self, name: str) -> str:
        """Id of the job's application."""
        return str(self.desk.get(name)["status"]["externalID"])
