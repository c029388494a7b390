"""A real Airflow: api-server, scheduler, dag-processor and triggerer as processes of their own."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
import sqlalchemy

from tests.testbed import cache
from tests.testbed.airflow.rest import Rest
from tests.testbed.errors import TestbedError
from tests.testbed.process import Process
from tests.testbed.progress import say
from tests.testbed.site import Site, free_ports

AIRFLOW = (sys.executable, "-m", "airflow")
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
HEALTH = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
"""Component → its name in /monitor/health."""
GRACE = 30.0
"""Seconds after SIGTERM before SIGKILL, as Kubernetes gives a pod."""


@dataclass(frozen=True)
class Options:
    """What an Airflow is to run, and where."""

    dags_folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """More environment; here come AIRFLOW_CONN_*, KUBECONFIG and other AIRFLOW__* settings."""
    database: str | None = None
    """An SQLAlchemy URL of an empty database; by default sqlite in the site's folder."""


class Airflow(Rest):
    """A running Airflow with LocalExecutor; its components can be killed and started again."""

    def __init__(self, site: Site, options: Options) -> None:
        """Choose ports and write down the configuration; nothing runs yet."""
        if importlib.util.find_spec("airflow") is None:
            raise TestbedError("Airflow is needed: pip install 'durablejob[airflow]'")
        self.site = site
        self.options = options
        self.home = site.folder / "airflow"
        self.home.mkdir()
        self._port, worker_logs, trigger_logs = free_ports(3)
        super().__init__(f"http://127.0.0.1:{self._port}")
        own = _settings(self.home, options, self._port, worker_logs, trigger_logs)
        self.env: dict[str, str] = {**own, **options.env}
        self._processes: dict[str, Process] = {}
        self._begun: dict[str, datetime] = {}

    def start_all(self) -> None:
        """Start every component; return when all are healthy."""
        self._prepare_database()
        for component in COMPONENTS:
            self._launch(component)
        for component in COMPONENTS:
            self._await(component)

    def start(self, component: str) -> None:
        """Start one component again and wait until it is healthy."""
        self._launch(component)
        self._await(component)

    def kill(self, component: str, *, tree: bool = True) -> None:
        """SIGKILL a component with all it started, as the end of its container; without `tree` these live on."""
        self._processes[component].kill(tree=tree)

    def stop(self, component: str) -> None:
        """End a component in an orderly way, as a deployment does: SIGTERM, and SIGKILL after 30 s."""
        self._processes[component].stop()

    def freeze(self, component: str) -> None:
        """SIGSTOP a component's main process."""
        self._processes[component].freeze()

    def thaw(self, component: str) -> None:
        """SIGCONT a component's main process."""
        self._processes[component].thaw()

    @property
    def pids(self) -> dict[str, int]:
        """The pid of each component's main process, as last started."""
        return {name: process.pid for name, process in self._processes.items()}

    def log(self, component: str) -> str:
        """Return what a component has printed."""
        return self._processes[component].log.read_text(errors="replace")

    def task_pid(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> tuple[int, int]:
        """Return the pids of a running task and of its supervisor.

        Raises:
            TestbedError: it does not run.

        """
        pid = self.task_instance(dag_id, run_id, task_id, map_index)["pid"]
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            raise TestbedError(f"{dag_id}/{run_id}/{task_id} has no running process (pid {pid})") from None
        parent = next(line for line in status.splitlines() if line.startswith("PPid:"))
        return int(pid), int(parent.split()[1])

    def sql(self, statement: str, **values: object) -> int:
        """Change the database by hand; return how many rows were changed.

        Airflow's own commands cannot make every state that an executor which we do not run leaves behind.
        """
        engine = sqlalchemy.create_engine(self.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
        with engine.begin() as connection:
            changed = connection.execute(sqlalchemy.text(statement), values).rowcount
        engine.dispose()
        return int(changed)

    def cli(self, *args: str, timeout: float = 300) -> str:
        """Run `airflow ...` with this Airflow's configuration and return what it printed."""
        return _run(args, self.env, timeout)

    def start_second(self, component: str) -> Process:
        """Start one more of a component, which lives until its `stop`, or the site's."""
        env = {**self.env, "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_ports(1)[0])}
        return self.site.start(f"{component}-2", [*AIRFLOW, component], env=env, grace=GRACE)

    def _launch(self, component: str) -> None:
        arguments: Sequence[str] = ()
        if component == "api-server":
            arguments = ("--host", "127.0.0.1", "--port", str(self._port), "--workers", "1")
        command = [*AIRFLOW, component, *arguments]
        self._begun[component] = datetime.now(UTC)
        self._processes[component] = self.site.start(component, command, env=self.env, grace=GRACE)

    def _await(self, component: str) -> None:
        process, begin = self._processes[component], self._begun[component]

        def healthy() -> bool:
            try:
                if component == "api-server":
                    # Its first execution API call takes 5 to 10 s (it builds every version of the API), longer
                    # than the 5 s after which a task gives up and tries again; so let it be ours.
                    answer = httpx.get(f"{self.url}/execution/health", timeout=60, trust_env=False)
                    return answer.status_code == 200
                answer = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5, trust_env=False)
            except httpx.HTTPError:
                return False
            name = HEALTH[component]
            health = answer.json().get(name) or {}
            heartbeat = str(health.get(f"latest_{name}_heartbeat") or "")
            # A killed predecessor's heartbeat counts as healthy for a while, so wait for one of our own.
            return bool(heartbeat) and datetime.fromisoformat(heartbeat) > begin

        self.site.wait_until(healthy, process, "healthy", timeout=180)

    def _prepare_database(self) -> None:
        """Give the database its tables; the empty sqlite database is made once and copied (10 s saved)."""
        if self.options.database:
            _run(["db", "migrate"], self.env, 300)
            return

        def make(target: Path) -> None:
            say("making an empty Airflow database: once, 20 s")
            env = {**self.env, "AIRFLOW_HOME": str(target), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _sqlite(target)}
            _run(["db", "migrate"], env, 300)

        distributions = ("apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk")
        name = cache.key(*(f"{name}={version(name)}" for name in distributions))
        shutil.copyfile(cache.made(f"airflow-db-{name}", make) / "airflow.db", self.home / "airflow.db")


def _settings(home: Path, options: Options, port: int, worker_logs: int, trigger_logs: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    settings = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "8",
        "CORE__DAGS_FOLDER": str(options.dags_folder.resolve()),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the default asks DNS
        "DATABASE__SQL_ALCHEMY_CONN": options.database or _sqlite(home),
        "API__PORT": str(port),
        "API__BASE_URL": url,
        "API__SECRET_KEY": secrets.token_hex(16),
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "2",
        "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "2",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        "LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    prefixed = {f"AIRFLOW__{name}": value for name, value in settings.items()}
    return {
        "AIRFLOW_HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "NO_COLOR": "1",
        # Compiled modules are kept (not in the virtual environment), even where PYTHONDONTWRITEBYTECODE says
        # otherwise: without them every one of the many processes spends 4 s of CPU on compiling.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(cache.root() / "pycache"),
        **prefixed,
    }


def _sqlite(home: Path) -> str:
    return f"sqlite:///{home}/airflow.db"


def _run(args: Sequence[str], env: Mapping[str, str], timeout: float) -> str:
    command, merged = [*AIRFLOW, *args], {**os.environ, **env}
    done = subprocess.run(command, env=merged, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise TestbedError(f"airflow {' '.join(args)} failed:\n{tail}")
    return done.stdout
