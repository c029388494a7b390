"""YARN and HDFS: real ResourceManagers, NodeManagers, a NameNode and a DataNode as plain processes on 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.testbed.errors import TestbedError
from tests.testbed.process import Process
from tests.testbed.site import Part, Site, free_ports
from tests.testbed.spark import distribution as spark
from tests.testbed.spark import zookeeper
from tests.testbed.spark.zookeeper import HOST
from tests.testbed.yarn import distribution
from tests.testbed.yarn.settings import COMMON, STORES, prepare, write_xml

YARN = "org.apache.hadoop.yarn.server"
RESOURCE_MANAGER = f"{YARN}.resourcemanager.ResourceManager"
NODE_MANAGER = f"{YARN}.nodemanager.NodeManager"
NAME_NODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATA_NODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
USER = "etl"
"""Whose jobs they are; the daemons themselves run as whoever runs the tests."""
BOOT = 120.0
"""Seconds for a daemon to come up on a busy machine."""


@dataclass(frozen=True)
class Options:
    """How the ResourceManager remembers, and what the NodeManagers offer."""

    recovery: bool = True
    nodes: int = 1
    managers: int = 1
    """More than one: an active and a standby one, elected through a real ZooKeeper."""
    hdfs: bool = True
    conf: Mapping[str, str] = field(default_factory=dict)
    """More yarn.* settings."""


@dataclass(frozen=True)
class Manager:
    """Where one ResourceManager listens; the ports stay the same when it is killed and started again."""

    name: str
    id: str
    rpc: int
    scheduler: int
    tracker: int
    admin: int
    web: int

    @property
    def url(self) -> str:
        """Its web address, with REST under /ws/v1/cluster."""
        return f"http://{HOST}:{self.web}"


class Yarn:
    """A running cluster."""

    def __init__(self, site: Site, options: Options) -> None:
        """Choose ports and folders; nothing runs yet."""
        self.site = site
        self.options = options
        distribution.build()
        ports = iter(free_ports(7 + 6 * options.managers + 5 * options.nodes))
        self.name_node_rpc, self.name_node_web = next(ports), next(ports)
        self._data = [next(ports) for _ in range(3)]
        self._zookeeper = next(ports)
        self.managers = [
            Manager(f"resourcemanager-{i}", f"rm{i}", *(next(ports) for _ in range(5))) for i in range(options.managers)
        ]
        self._nodes = [[next(ports) for _ in range(4)] for _ in range(options.nodes)]
        self._processes: dict[str, Process] = {}
        self._home = distribution.home(site.folder / "hadoop")
        self._more = [distribution.missing(site.folder)] if options.managers > 1 else []
        self._conf = {name: self._write_conf(name) for name in self._daemons()}

    # --- beginning --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything; return when the cluster takes applications."""
        if self.options.managers > 1:
            self._processes["zookeeper"] = zookeeper.start(self.site, self._zookeeper)
        if self.options.hdfs:
            self._format()
            self.start_name_node(wait=False)
            self._launch("datanode", DATA_NODE)
        for i in range(self.options.managers):
            self.start_manager(i, wait=False)
        for i in range(self.options.nodes):
            self._launch(f"nodemanager-{i}", NODE_MANAGER, grace=2)
        if self.options.hdfs:
            self.await_hdfs()
            self.mkdirs("/", "/user", mode="777")
        self.await_active()
        self.await_nodes()

    def start_manager(self, i: int = 0, *, wait: bool = True) -> None:
        """Start a ResourceManager (again, on the same ports and with what it remembered)."""
        manager = self.managers[i]
        self._launch(manager.name, RESOURCE_MANAGER)
        if wait:
            self.await_active()

    def kill_manager(self, i: int = 0) -> None:
        """SIGKILL a ResourceManager; NodeManagers and containers live on."""
        self.process(self.managers[i].name).kill()

    def freeze_manager(self, i: int = 0) -> None:
        """SIGSTOP: its sockets stay open and nobody answers."""
        self.process(self.managers[i].name).freeze()

    def thaw_manager(self, i: int = 0) -> None:
        """SIGCONT."""
        self.process(self.managers[i].name).thaw()

    def start_name_node(self, *, wait: bool = True) -> None:
        """Start the NameNode (again)."""
        self._launch("namenode", NAME_NODE)
        if wait:
            self.await_hdfs()

    def kill_name_node(self) -> None:
        """SIGKILL the NameNode."""
        self.process("namenode").kill()

    def safe_mode(self, on: bool) -> None:
        """Put HDFS into safe mode, or out of it: it reads, and changes nothing."""
        enter = ("-safemode", "enter" if on else "leave")
        command = self._java(self._conf["namenode"], "org.apache.hadoop.hdfs.tools.DFSAdmin", *enter)
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TestbedError(f"safe mode cannot be changed:\n{(done.stdout + done.stderr)[-2000:]}")

    def kill_node(self, i: int = 0) -> None:
        """SIGKILL a NodeManager with all its containers, as a power cut."""
        self.process(f"nodemanager-{i}").kill(tree=True)

    def restart_node(self, i: int = 0) -> None:
        """Kill a NodeManager and start it again: it remembers ended applications for hours, and then none."""
        self.kill_node(i)
        began = time.time() * 1000
        self._launch(f"nodemanager-{i}", NODE_MANAGER, grace=2)

        def heard_of() -> bool:
            port = str(self._nodes[i][0])
            with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
                nodes = (self.rest("nodes")["nodes"] or {}).get("node") or ()
                mine = [node for node in nodes if node["id"].endswith(f":{port}") and node["state"] == "RUNNING"]
                return any(node["lastHealthUpdate"] > began for node in mine)
            return False

        self.site.wait_until(heard_of, self.process(f"nodemanager-{i}"), "registered again", BOOT)

    def process(self, name: str) -> Process:
        """The process of a daemon as last started."""
        return self._processes[name]

    # --- looking ----------------------------------------------------------------------------------------

    def rest(self, path: str, i: int | None = None, **params: str) -> dict[str, Any]:
        """What a ResourceManager (by default the active one) answers below /ws/v1/cluster."""
        manager = self.managers[self.active() or 0 if i is None else i]
        query = {"user.name": USER, **params}
        answer = httpx.get(f"{manager.url}/ws/v1/cluster/{path}", params=query, timeout=30, trust_env=False)
        answer.raise_for_status()
        result: dict[str, Any] = answer.json()
        return result

    def apps(self, **params: str) -> list[dict[str, Any]]:
        """All applications that it knows."""
        return list((self.rest("apps", None, **params).get("apps") or {}).get("app") or ())

    def kill_app(self, app: str) -> None:
        """What ``yarn application -kill`` does."""
        url = f"{self.managers[self.active() or 0].url}/ws/v1/cluster/apps/{app}/state"
        httpx.put(url, params={"user.name": USER}, json={"state": "KILLED"}, timeout=30, trust_env=False)

    def active(self) -> int | None:
        """Which ResourceManager is active; None while none is."""
        for i in range(self.options.managers):
            with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
                if self.rest("info", i)["clusterInfo"]["haState"] == "ACTIVE":
                    return i
        return None

    def await_active(self) -> None:
        """Wait until a ResourceManager is active."""
        living = [process for m in self.managers if (process := self._processes.get(m.name)) and process.alive]
        if not living:
            raise TestbedError("no ResourceManager runs")
        self.site.wait_until(lambda: self.active() is not None, living[-1], "active", BOOT)

    def await_nodes(self) -> None:
        """Wait until all NodeManagers are registered."""

        def registered() -> bool:
            with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
                return bool(self.rest("metrics")["clusterMetrics"]["activeNodes"] >= self.options.nodes)
            return False

        self.site.wait_until(registered, self.process("nodemanager-0"), "registered", BOOT)

    def container_logs(self, app: str) -> str:
        """Standard output and error of all containers of an application, as far as they are still there."""
        files = sorted(self.site.folder.glob(f"*/nm-logs/{app}/*/std*"))
        return "\n".join(f"== {path.parent.name}/{path.name}\n{path.read_text(errors='replace')}" for path in files)

    # --- HDFS -------------------------------------------------------------------------------------------

    @property
    def hdfs(self) -> str:
        """hdfs://host:port."""
        return f"hdfs://{HOST}:{self.name_node_rpc}"

    @property
    def name_node(self) -> str:
        """The NameNode's web address, with WebHDFS."""
        return f"http://{HOST}:{self.name_node_web}"

    @property
    def data_node(self) -> str:
        """The DataNode's web address, to which WebHDFS sends whoever reads or writes."""
        return f"http://{HOST}:{self._data[1]}"

    def webhdfs(self, method: str, path: str, op: str, user: str | None = None, **params: str) -> httpx.Response:
        """One WebHDFS operation, by default as the superuser."""
        query = {"op": op, "user.name": user or self._superuser, **params}
        return httpx.request(method, f"{self.name_node}/webhdfs/v1{path}", params=query, timeout=60, trust_env=False)

    @property
    def _superuser(self) -> str:
        return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()

    def mkdirs(self, *paths: str, mode: str = "755", owner: str | None = None) -> None:
        """Make folders with this mode and owner."""
        for path in paths:
            self.webhdfs("PUT", path, "MKDIRS", permission=mode).raise_for_status()
            self.webhdfs("PUT", path, "SETPERMISSION", permission=mode).raise_for_status()
            if owner is not None:
                self.webhdfs("PUT", path, "SETOWNER", owner=owner).raise_for_status()

    def upload(self, path: str, content: bytes | Path) -> str:
        """Write a file; return its hdfs:// address."""
        where = self.webhdfs("PUT", path, "CREATE", overwrite="true", permission="644")
        data = content if isinstance(content, bytes) else content.read_bytes()
        httpx.put(where.headers["location"], content=data, timeout=120, trust_env=False).raise_for_status()
        return self.hdfs + path

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return self.webhdfs("GET", path, "GETFILESTATUS").status_code == 200

    def await_hdfs(self) -> None:
        """Wait until HDFS takes files: a DataNode that is alive has perhaps not yet told of its disks."""

        def writable() -> bool:
            with contextlib.suppress(httpx.HTTPError, KeyError):
                self.upload("/.written", b"x")
                return True
            return False

        self.site.wait_until(writable, self.process("namenode"), "taking files", BOOT)

    # --- the inside -------------------------------------------------------------------------------------

    def conf_dir(self) -> Path:
        """Settings for clients."""
        return self._conf[self.managers[0].name]

    def _daemons(self) -> list[str]:
        nodes = [f"nodemanager-{i}" for i in range(self.options.nodes)]
        return [*(m.name for m in self.managers), *nodes, "namenode", "datanode"]

    def _write_conf(self, name: str) -> Path:
        folder = prepare(self.site.folder / f"conf-{name}")
        tmp = self.site.folder / f"tmp-{name}"
        default = self.hdfs if self.options.hdfs else "file:///"
        write_xml(
            folder / "core-site.xml",
            {
                "fs.defaultFS": default,
                "hadoop.tmp.dir": tmp,
                "hadoop.zk.address": f"{HOST}:{self._zookeeper}",  # of the state store
                "ipc.client.connect.retry.interval": "200",
                "hadoop.security.token.service.use_ip": "false",
            },
        )
        write_xml(folder / "hdfs-site.xml", self._hdfs_settings())
        write_xml(folder / "yarn-site.xml", {**COMMON, **self._manager_settings(), **self._node_settings(name, tmp),
                                             **self.options.conf})  # fmt: skip
        return folder

    def _hdfs_settings(self) -> dict[str, object]:
        data, web, ipc = (f"{HOST}:{port}" for port in self._data)
        return {
            "dfs.replication": 1,
            "dfs.namenode.name.dir": f"file://{self.site.folder}/namenode",
            "dfs.datanode.data.dir": f"file://{self.site.folder}/datanode",
            "dfs.namenode.rpc-address": f"{HOST}:{self.name_node_rpc}",
            "dfs.namenode.http-address": f"{HOST}:{self.name_node_web}",
            "dfs.datanode.address": data,
            "dfs.datanode.http.address": web,
            "dfs.datanode.ipc.address": ipc,
            "dfs.datanode.hostname": HOST,
            "dfs.client.use.datanode.hostname": "true",
            "dfs.namenode.safemode.extension": 0,
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        }

    def _manager_settings(self) -> dict[str, object]:
        parts = {
            "address": "rpc", "scheduler.address": "scheduler", "resource-tracker.address": "tracker",
            "admin.address": "admin", "webapp.address": "web",
        }  # fmt: skip
        several = len(self.managers) > 1
        store = "ZKRMStateStore" if several else "FileSystemRMStateStore"
        settings: dict[str, object] = {
            "yarn.resourcemanager.recovery.enabled": str(self.options.recovery).lower(),
            "yarn.resourcemanager.store.class": f"{STORES}.{store}",
            "yarn.resourcemanager.fs.state-store.uri": f"file://{self.site.folder}/rm-state",
            "yarn.resourcemanager.bind-host": HOST,
        }
        if several:
            settings |= {
                "yarn.resourcemanager.ha.enabled": "true",
                "yarn.resourcemanager.ha.rm-ids": ",".join(m.id for m in self.managers),
                "yarn.resourcemanager.cluster-id": "testbed",
                "yarn.resourcemanager.zk-address": f"{HOST}:{self._zookeeper}",  # of the election
                "yarn.resourcemanager.zk-timeout-ms": "3000",
            }
        for manager in self.managers:
            suffix = f".{manager.id}" if several else ""
            settings[f"yarn.resourcemanager.hostname{suffix}"] = HOST
            for key, part in parts.items():
                settings[f"yarn.resourcemanager.{key}{suffix}"] = f"{HOST}:{getattr(manager, part)}"
        return settings

    def _node_settings(self, name: str, tmp: Path) -> dict[str, object]:
        own: dict[str, object] = {}
        if name.startswith("nodemanager"):
            rpc, localizer, web, collector = self._nodes[int(name.rpartition("-")[2])]
            own = {
                "yarn.nodemanager.hostname": HOST,
                "yarn.nodemanager.bind-host": HOST,
                "yarn.nodemanager.address": f"{HOST}:{rpc}",
                "yarn.nodemanager.localizer.address": f"{HOST}:{localizer}",
                "yarn.nodemanager.webapp.address": f"{HOST}:{web}",
                "yarn.nodemanager.collector-service.address": f"{HOST}:{collector}",
                "yarn.nodemanager.local-dirs": tmp / "nm-local",
                "yarn.nodemanager.log-dirs": tmp / "nm-logs",
                "yarn.nodemanager.delete.debug-delay-sec": 600,
            }
        elif name.startswith("resourcemanager") and len(self.managers) > 1:
            own = {"yarn.resourcemanager.ha.id": self.managers[int(name.rpartition("-")[2])].id}
        return own

    def _java(self, conf: Path, main: str, *arguments: Part) -> list[Part]:
        heap = "-Xmx512m"
        java = spark.lean_java_home() / "bin" / "java"
        classes = os.pathsep.join([distribution.classpath(conf), *map(str, self._more)])
        return [java, heap, "-Dlog4j2.disable.jmx=true", "-cp", classes, main, *arguments]

    def _launch(self, name: str, main: str, grace: float = 5.0) -> None:
        conf = self._conf[name]
        env = {"HADOOP_CONF_DIR": str(conf), "HADOOP_COMMON_HOME": str(self._home)}
        env["JAVA_HOME"] = str(spark.lean_java_home())  # that of the containers
        self._processes[name] = self.site.start(name, self._java(conf, main), env=env, grace=grace)

    def _format(self) -> None:
        command = self._java(self._conf["namenode"], NAME_NODE, "-format", "-nonInteractive", "-force")
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TestbedError(f"the NameNode cannot be formatted:\n{(done.stdout + done.stderr)[-2000:]}")
