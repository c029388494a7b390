"""What installing durablejob does to an Airflow that is there already: `make airflow-install-check`.

In fresh virtual environments, from the package index: a plain Airflow 3.3.2, into which `pip install
durablejob[airflow]` may add packages but change none; and an Airflow 3.2, on which the import says in one line what
is required. Prints what it found, writes it to a file, and fails where it is not so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.testbed.progress import say

PROJECT = Path(__file__).parents[1]
AIRFLOW = "3.3.2"
OLDER = "3.2"
IMPORT = "import durablejob_airflow.operators, durablejob_airflow.sensors, durablejob_airflow.decorators"
DISCOVERY = """
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
assert "durablejob" in manager.providers, sorted(manager.providers)
assert {"durable_spark", "durable_kubernetes_job"} <= set(dict(manager.taskflow_decorators)), "decorators"
assert manager.hooks["durablejob"].hook_name == "DurableJob", "connection type"
"""


class Environment:
    """A virtual environment of its own."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        self.python = folder / "bin" / "python"

    def uv(self, *args: str) -> str:
        """Run uv's pip on it; return what it printed."""
        uv = Path(sys.executable).with_name("uv")
        command = [str(uv), "pip", *args, "--python", str(self.python)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def pip(self, *args: str) -> None:
        """Run its own pip, as a person does."""
        command = [str(self.python), "-m", "pip", "--quiet", "--disable-pip-version-check", *args]
        subprocess.run(command, check=True, cwd=PROJECT)

    def versions(self) -> dict[str, str]:
        """What is installed."""
        return {found["name"]: found["version"] for found in json.loads(self.uv("list", "--format", "json"))}

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run Python code, far from this checkout."""
        home = self.python.parents[1] / "home"
        env = {"AIRFLOW_HOME": str(home), "PATH": "/usr/bin:/bin", "HOME": str(home)}
        command = [str(self.python), "-c", code]
        return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False)


def into_a_plain_airflow(folder: Path) -> dict[str, object]:
    """Install it beside Airflow, and compare."""
    environment = Environment(folder)
    say(f"installing apache-airflow=={AIRFLOW}")
    environment.uv("install", "--quiet", f"apache-airflow=={AIRFLOW}")
    before = environment.versions()
    say("pip install durablejob[airflow]")
    environment.pip("install", ".[airflow]")
    after = environment.versions()
    changed = {name: [version, after.get(name)] for name, version in before.items() if after.get(name) != version}
    added = {name: version for name, version in after.items() if name not in before}
    environment.pip("check")
    broken = [done.stderr for code in (IMPORT, DISCOVERY) if (done := environment.run(code)).returncode]
    return {"airflow": AIRFLOW, "had": len(before), "changed": changed, "added": added, "broken": broken}


def on_an_older_airflow(folder: Path) -> dict[str, object]:
    """Put it there past pip's own check, and import it."""
    environment = Environment(folder)
    say(f"installing apache-airflow {OLDER}")
    environment.uv("install", "--quiet", f"apache-airflow=={OLDER}.*")
    environment.pip("install", "--no-deps", ".")
    done = environment.run(IMPORT)
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return {"airflow": environment.versions()["apache-airflow"], "exit code": done.returncode, "says": last}


def main() -> int:
    """Check both; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the results go")
    target = parser.parse_args().json
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="durablejob-install-") as folder:
        plain = into_a_plain_airflow(Path(folder) / "plain")
        older = on_an_older_airflow(Path(folder) / "older")
    results = {"plain": plain, "older": older, "seconds": round(time.monotonic() - begin)}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
    good = not plain["changed"] and not plain["broken"]
    return 0 if good and older["exit code"] == 1 and "needs Apache Airflow 3.3" in str(older["says"]) else 1


if __name__ == "__main__":
    sys.exit(main())
