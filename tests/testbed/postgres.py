"""A PostgreSQL of our own, where the machine has one installed (Debian: postgresql): a server on a unix socket.

sqlite has one writer at a time, and answers others with errors after 5 s: too little for an Airflow that is under load.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from tests.testbed.site import Site

USER = "airflow"
_ACCOUNTS = ("postgres", "nobody")
"""The server refuses to run as root; as one of these it does."""


def programs() -> Path | None:
    """The folder of the server's programs; None where there are none."""
    found = shutil.which("initdb")
    if found and shutil.which("postgres"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


def _account() -> str | None:
    """Whose process it is to be; None: ours."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _ACCOUNTS if name in known)


def _as(account: str | None) -> list[str]:
    return ["setpriv", "--reuid", account, "--regid", "nogroup", "--clear-groups"] if account else []


def start(site: Site) -> str:
    """Start a server with one empty database, on a folder of the site; return the database's SQLAlchemy URL.

    Its data do not outlive a power cut (no fsync): they are a test's.
    """
    where, account = programs(), _account()
    assert where is not None, "no PostgreSQL is installed"
    folder = site.folder / "postgres"
    folder.mkdir()
    if account:
        site.folder.chmod(0o711)
        shutil.chown(folder, account)
    subprocess.run(
        [*_as(account), where / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "--no-sync"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    # A scheduler that is killed alone leaves its connection to the workers that it has forked, and with it what it had
    # locked in the middle of a transaction: a run whose row is locked so is never scheduled again.
    settings = {
        "idle_in_transaction_session_timeout": "20s",
        "listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "synchronous_commit": "off",
        "full_page_writes": "off", "max_connections": 300,
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = site.start("postgres", [*_as(account), where / "postgres", "-D", folder / "data", *options])
    site.wait_until(lambda: _ready(where, folder), server, "ready")
    return f"postgresql+psycopg2://{USER}@/postgres?host={folder}"


def _ready(where: Path, folder: Path) -> bool:
    ready = subprocess.run([where / "pg_isready", "-h", folder, "-U", USER], capture_output=True, check=False)
    return ready.returncode == 0
