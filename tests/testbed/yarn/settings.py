"""Hadoop's settings files for clusters on 127.0.0.1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

STORES = "org.apache.hadoop.yarn.server.resourcemanager.recovery"
LOG = """\
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1}: %m%n%ex
"""
QUEUES = {
    "yarn.scheduler.capacity.root.queues": "default,small",
    "yarn.scheduler.capacity.root.default.capacity": "90",
    "yarn.scheduler.capacity.root.default.maximum-capacity": "100",
    "yarn.scheduler.capacity.root.small.capacity": "10",
    "yarn.scheduler.capacity.root.default.maximum-am-resource-percent": "1",
    "yarn.scheduler.capacity.maximum-am-resource-percent": "1",
    "yarn.scheduler.capacity.maximum-applications": "10000",
}
COMMON = {
    "yarn.scheduler.minimum-allocation-mb": "64",
    "yarn.scheduler.maximum-allocation-mb": "8192",
    "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": "100",
    "yarn.resourcemanager.connect.retry-interval.ms": "500",  # else a NodeManager takes 30 s to find it again
    "yarn.resourcemanager.am.max-attempts": "1",
    "yarn.cluster.max-application-priority": "10",  # 0 by default: then every priority is cut down to it
    "yarn.resourcemanager.work-preserving-recovery.enabled": "true",
    "yarn.resourcemanager.work-preserving-recovery.scheduling-wait-ms": "1000",
    "yarn.am.liveness-monitor.expiry-interval-ms": "60000",  # a slow ApplicationMaster on a busy machine is not dead
    "yarn.nodemanager.pmem-check-enabled": "false",
    "yarn.nodemanager.vmem-check-enabled": "false",
    "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "99",
    "yarn.nodemanager.resource.memory-mb": "12288",
    "yarn.nodemanager.resource.cpu-vcores": "16",
    "yarn.nodemanager.env-whitelist": "JAVA_HOME,HADOOP_CONF_DIR,HADOOP_COMMON_HOME,PATH,LANG",
    "yarn.nodemanager.sleep-delay-before-sigkill.ms": "250",
}


def write_xml(path: Path, values: Mapping[str, object]) -> None:
    """One of Hadoop's files."""
    rows = [f"<property><name>{name}</name><value>{escape(str(value))}</value></property>"
            for name, value in values.items()]  # fmt: skip
    path.write_text("\n".join(["<configuration>", *rows, "</configuration>", ""]))


def prepare(folder: Path) -> Path:
    """A settings folder with what every daemon needs there."""
    folder.mkdir()
    for page in ("cluster", "node", "static", "hdfs", "datanode"):
        (folder / "webapps" / page).mkdir(parents=True)
    (folder / "log4j2.properties").write_text(LOG)
    write_xml(folder / "capacity-scheduler.xml", QUEUES)
    return folder
